"""Posterior collapse in closed form: against a search in all parameters, fixed points, and a table worked out apart."""

import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar
from scipy.stats import multivariate_normal

from workshop.studies import collapse


@pytest.fixture
def at(monkeypatch):
    """The study with other times of the visits."""

    def place(times):
        monkeypatch.setattr(collapse, "TIMES", np.asarray(times, float))
        collapse.best.cache_clear()

    yield place
    collapse.best.cache_clear()


def bound_by_matrices(om1, om2, s, noise, zero, kind):
    """The bound per person by its definition: E log N(y; 0, V) less, for a diagonal q, the divergence of the best q."""
    n = collapse.TIMES.size
    z = np.column_stack([np.ones(n), collapse.TIMES - zero])
    data = z @ z.T + noise**2 * np.eye(n)
    weighted = z * [om1, om2]
    v = weighted @ weighted.T + s**2 * np.eye(n)
    log_l = multivariate_normal(np.zeros(n), v).logpdf(np.zeros(n)) - 0.5 * np.trace(np.linalg.solve(v, data))
    if kind == collapse.FULL:
        return log_l
    precision = weighted.T @ weighted / s**2 + np.eye(2)
    best = np.diag(1 / np.diag(precision))
    product = precision @ best
    return log_l - 0.5 * (np.trace(product) - 2 - np.log(np.linalg.det(product)))


@pytest.mark.parametrize("kind", [collapse.DIAGONAL, collapse.FULL])
@pytest.mark.parametrize("zero", [0.0, 1.3])
def test_the_bound_is_that_of_its_definition_at_its_best_noise(kind, zero):
    noise, r1, r2 = 0.7, 0.8, 1.9
    found = collapse.fitted(r1, r2, collapse.covariance(noise, zero=zero), zero, kind)

    def loss(log_s):
        s = np.exp(log_s)
        return -bound_by_matrices(r1 * s, r2 * s, s, noise, zero, kind)

    best = minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-10})
    assert float(found.bound) == pytest.approx(-best.fun, abs=1e-9)
    assert float(found.s) == pytest.approx(np.exp(best.x), rel=1e-5)


# (times, noise): SDs and noise that a diagonal q ends at, from fixed points of variational EM in another program.
TABLE = [
    (np.linspace(0, 1, 20), 0.5, (0.985, 0.946, 0.502)),
    (np.linspace(0, 1, 5), 0.5, (0.968, 0.782, 0.535)),
    (np.linspace(0, 1, 5), 1.0, (1.104, 0.0, 1.075)),
    (np.linspace(0, 1, 3), 0.5, (1.080, 0.0, 0.7071)),
    (np.arange(5.0), 1.0, (0.0, 1.047, 1.190)),
    (np.linspace(-0.5, 0.5, 5), 1.0, (1.0, 1.0, 1.0)),
]


@pytest.mark.parametrize(("times", "noise", "wanted"), TABLE)
def test_where_a_diagonal_q_ends(at, times, noise, wanted):
    at(times)
    found = collapse.best(noise)
    np.testing.assert_allclose(found[:3], wanted, atol=6e-4)
    for om, sd in zip(found[:2], wanted, strict=False):
        assert (om == 0.0) == (sd == 0.0)


@pytest.mark.parametrize(("noise", "sds"), [(0.4, (1.0, 1.0)), (1.0, (1.0, 1.0)), (1.0, (2.0, 0.5)), (2.5, (0.4, 1.0))])
def test_no_other_decoder_has_a_higher_bound(noise, sds):
    found = collapse.best(noise, sds)

    def loss(x):
        s = np.exp(x[2])
        v0 = collapse.covariance(noise, sds)
        r1, r2 = np.abs(x[:2]) / s
        one = collapse.fitted(r1, r2, v0)
        return -float(one.bound)

    starts = [(*sds, np.log(noise)), (0.0, sds[1], np.log(noise)), (sds[0], 0.0, np.log(noise)), (0.1, 0.1, 1.0)]
    others = [minimize(loss, start, method="Nelder-Mead", options={"fatol": 1e-12, "xatol": 1e-9}) for start in starts]
    assert found.value >= -min(one.fun for one in others) - 1e-9


def test_a_full_q_finds_the_truth_and_a_diagonal_one_is_below_it():
    for noise in (0.4, 1.0, 2.0):
        full, diagonal = (collapse.best(noise, (0.8, 1.2), kind=kind) for kind in (collapse.FULL, collapse.DIAGONAL))
        np.testing.assert_allclose(full[:3], (0.8, 1.2, noise), rtol=1e-6)
        assert diagonal.value < full.value


def test_the_end_is_a_fixed_point_of_variational_em():
    """There E mu^2 + 1/P = 1 for every random effect that is awake, mu the mean of the best diagonal q."""
    found = collapse.best(0.5)
    z = np.column_stack([np.ones(5), collapse.TIMES]) * found[:2]
    p = z.T @ z / found.s**2 + np.eye(2)
    to_mean = np.linalg.solve(p, z.T) / found.s**2
    squares = np.diag(to_mean @ collapse.covariance(0.5) @ to_mean.T)
    np.testing.assert_allclose(squares + 1 / np.diag(p), 1.0, atol=1e-5)
    np.testing.assert_allclose(found.divergence, 0.5 * np.log(np.diag(p)), rtol=1e-9)


def test_the_fall_asleep_is_a_jump():
    before, after = collapse.best(0.78), collapse.best(0.84)
    assert before.om1 > 0.7 and after.om1 == 0.0
    middle = collapse.profile(np.linspace(0.0, 2.0, 401), 0.8)
    peaks = np.flatnonzero((middle[1:-1] > middle[:-2]) & (middle[1:-1] > middle[2:]))
    assert middle[0] > middle[1] and len(peaks) == 1  # two peaks: one at nothing, one near the truth


def test_the_elbow_of_a_decoder_that_may_rotate():
    """Numbers of a linear autoencoder worked out apart: 20 times on [0, 1], noise 0.5."""
    t = np.linspace(0, 1, 20)
    z = np.column_stack([np.ones(20), t])
    eigenvalues = np.linalg.eigvalsh(z @ z.T + 0.25 * np.eye(20))[::-1]
    np.testing.assert_allclose(eigenvalues[:3], [25.641, 1.701, 0.25], atol=1e-3)
    np.testing.assert_allclose(collapse.elbow(eigenvalues, 0.5)[:3], [2.315, 0.959, 0.0], atol=1e-3)
    assert collapse.elbow(eigenvalues, 0.5, beta=6.79)[1] > 0.0 == collapse.elbow(eigenvalues, 0.5, beta=6.81)[1]

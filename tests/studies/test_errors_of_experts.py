"""How sure the estimates of a mixture are: by information, by cross-products and by both, against simulation."""

import jax.numpy as jnp
import numpy as np
import pytest
from experts import DOWN, UP, line, lines
from models import Means

import mefit as mf

Z = 1.959964  # of a normal, 97.5%


@pytest.mark.slow
def test_where_the_model_is_right_all_errors_agree_and_intervals_cover():
    """200 studies of 300 people from a known mixture of lines, in one program."""
    count = 200
    studies = [lines(300, seed=1000 + number)[0] for number in range(count)]
    first = studies[0]
    w = np.asarray(first.subjects.covariates["w"])
    log_odds = [[2.0 * w.mean(), 2.0 * w.std()]]  # of the truth, in the gate's units: those of the first study
    truth = mf.MixtureOfExperts((line(UP), line(DOWN)), gate=mf.LinearGate(first, ["w"], log_odds))
    fits = mf.fit_many(truth, studies)
    assert np.mean(fits.converged) > 0.98
    at = fits.space.vector()
    naive = np.linalg.inv(fits.information())
    by_scores = np.linalg.inv(fits.crossed)
    both = naive @ fits.crossed @ naive
    errors = [np.sqrt(np.diagonal(one, axis1=1, axis2=2)) for one in (naive, by_scores, both)]
    # the SD of estimates by their middle 68%: the logarithm of a slope's variance has a long tail towards 0
    low, high = np.quantile(fits.x, [0.1587, 0.8413], axis=0)
    spread = 0.5 * (high - low)
    middle = [np.median(one, axis=0) for one in errors]
    # of naive errors and sandwich: 1 +- 0.1 in each coordinate; cross-products of 300 scores are a little smaller
    np.testing.assert_allclose(middle[2] / middle[0], 1.0, atol=0.1)
    np.testing.assert_allclose(middle[1] / middle[0], 1.0, atol=0.15)
    np.testing.assert_allclose(middle[0] / spread, 1.0, atol=0.25)  # by 200 it is known to 7%
    for se in (errors[0], errors[2]):
        covered = np.abs(fits.x - at) < Z * se
        assert 0.93 <= covered.mean() <= 0.97
        assert np.all(covered.mean(axis=0) > 0.95 - 4.0 * np.sqrt(0.05 * 0.95 / count))


KURTOSIS = {"uniform": -1.2, "Laplace": 3.0}


@pytest.mark.slow
@pytest.mark.parametrize("law", KURTOSIS)
def test_where_random_effects_are_not_normal_the_sandwich_differs_as_it_must(law):
    """For omega^2 the true error is sqrt((2 + k B^2) / 2) of the naive one, with k the excess kurtosis of eta and
    B = n omega^2 / (n omega^2 + sigma^2); here of the sample, in two classes that are far apart."""
    rng = np.random.default_rng(9)
    count = 1500
    draw = {"uniform": lambda: rng.uniform(-1.0, 1.0, count) * np.sqrt(3.0), "Laplace": lambda: rng.laplace(size=count)}
    eta = draw[law]()
    eta = (eta - eta.mean()) / eta.std()
    far = np.where(np.arange(count) % 2 == 0, 0.0, 60.0)
    rows = 4
    y = far[:, None] + eta[:, None] + 0.8 * rng.normal(size=(count, rows))
    people = [mf.Subject(time=np.arange(float(rows)), y=one, mask=np.ones(rows, bool)) for one in y]
    experts = [Means(mu=mu, omega=1.0, sigma=0.8) for mu in (0.0, 60.0)]
    start = mf.MixtureOfExperts(experts, gate=mf.ConstantGate(jnp.array([0.5, 0.5])), shared=("omega", "sigma"))
    fit = mf.fit(start, mf.Population.from_subjects(people), mf.Laplace(), progress=False)
    ratio = mf.sandwich(fit).table.se["omega"] / mf.observed_information(fit).table.se["omega"]
    # the kurtosis of the levels that this sample has, whose share of eta's is B^2
    level = y.mean(axis=1) - far
    level = np.concatenate([level[::2] - level[::2].mean(), level[1::2] - level[1::2].mean()])
    excess = np.mean(level**4) / np.mean(level**2) ** 2 - 3.0
    b = rows / (rows + 0.64)
    assert ratio == pytest.approx(np.sqrt((2.0 + excess) / 2.0), rel=0.02)
    assert ratio == pytest.approx(np.sqrt((2.0 + KURTOSIS[law] * b**2) / 2.0), rel=0.12)

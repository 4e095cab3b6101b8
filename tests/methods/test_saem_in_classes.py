"""SAEM of mixtures of experts: its draws are those of the posterior over all classes, and it ends at the maximum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from experts import DOWN, KEY, TIMES, UP, line, lines, log_marginal, mixture, shares, sixty
from models import Logistic
from scipy.special import logsumexp

import mefit as mf
from mefit.effects.class_proposal import for_classes
from mefit.effects.kernels import Target, sweep
from mefit.model.every_class import EveryClass


def exact(model, population):
    """By NumPy: responsibilities (N, C), and the mean of each class's eta given y and the class (N, C, 2)."""
    y = np.asarray(population.subjects.y)
    each = np.log(shares(model, population))
    means = []
    z = np.stack([np.ones(TIMES.size), TIMES], axis=1)
    for k, expert in enumerate(model.experts):
        each[:, k] += [log_marginal(expert, own) for own in y]
        omega = np.asarray(expert.omega)
        gain = omega @ z.T @ np.linalg.inv(z @ omega @ z.T + float(expert.sigma) ** 2 * np.eye(TIMES.size))
        means.append((y - z @ np.asarray(expert.beta)) @ gain.T)
    r = np.exp(each - logsumexp(each, axis=1, keepdims=True))
    return r, np.stack(means, axis=1)


def test_no_block_is_compiled_again_for_how_the_first_begins():
    """What a kernel begins with is of the kind that it learns: else the second block would be another program."""
    model = mixture(sixty()[0])
    for kernel in (mf.LaplaceProposal(), mf.RandomWalk(), mf.ComponentWise(), mf.PriorProposal()):
        for begun in (for_classes(kernel).init(EveryClass(model), 60), kernel.init(model.experts[0], 60)):
            assert not any(jax.typeof(leaf).weak_type for leaf in jax.tree.leaves(begun)), kernel.label


def test_draws_change_classes_as_often_as_they_should():
    """Close lines: many people could be of either. E[eta_k | y] is r_k times the mean in class k, else 0."""
    population, _ = sixty()
    model = mixture(population, up=UP / 8.0, down=DOWN / 8.0, log_odds=((0.2, 0.8),))
    r, means = exact(model, population)
    assert np.mean((r > 0.05) & (r < 0.95)) > 0.5
    kernels = tuple(for_classes(kernel) for kernel in (mf.LaplaceProposal(), mf.RandomWalk(steps=1)))
    target = Target(EveryClass(model), population.subjects)

    @jax.jit
    def go_on(key, eta, tuning):
        eta, _, tuning, accepted = sweep(kernels, key, target, eta, tuning, jnp.asarray(0.1))
        by_class = jax.vmap(jax.vmap(target.model.by_class), (0, None))(eta, population.subjects)
        return eta, tuning, jnp.mean(jax.nn.softmax(by_class), axis=0), jnp.mean(eta, axis=0), accepted

    eta = jnp.zeros((50, 60, 4))
    tuning = tuple(kernel.init(target.model, 60) for kernel in kernels)
    seen = []
    for number in range(80):
        eta, tuning, own, mean, accepted = go_on(jax.random.fold_in(KEY, number), eta, tuning)
        if number >= 10:
            seen.append((own, mean))
    found = np.mean([own for own, _ in seen], axis=0)
    drawn = np.mean([mean for _, mean in seen], axis=0).reshape(60, 2, 2)
    assert accepted[0] > 0.6
    # a thousand independent draws of each person would miss r by .016 at most (one standard error)
    np.testing.assert_allclose(found, r, atol=0.06)
    assert np.sqrt(np.mean((found - r) ** 2)) < 0.015
    assert np.sqrt(np.mean((drawn - r[:, :, None] * means) ** 2)) < 0.03


def test_what_it_refuses():
    population, _ = sixty()
    alike = mf.MixtureOfExperts((line(UP), line(UP)), gate=mf.LinearGate(population, ["w"]))
    with pytest.raises(ValueError, match="the experts begin alike.*EM"):
        mf.fit(alike, population, mf.SAEM(likelihood_by=mf.Laplace()), key=KEY, progress=False)
    encoder = mf.networks.Encoder(population, effects=4)
    one = mf.SAEM(kernels=(mf.EncoderProposal(encoder),), likelihood_by=mf.Laplace())
    with pytest.raises(ValueError, match="one posterior of each subject"):
        mf.fit(mixture(population), population, one, key=KEY, progress=False)


def within(found: mf.Fit, best: mf.Fit, errors: float) -> None:
    """Estimates no further from the maximum than so many standard errors."""
    table = best.table
    named = found.table.estimate.to_dict()
    for name, row in table[np.isfinite(table.se)].iterrows():
        assert abs(named[name] - row.estimate) < errors * row.se, name


@pytest.mark.slow
def test_it_ends_where_em_ends():
    """With Gaussian experts Laplace is exact, and so is the maximum that EM finds. (Sixty people have two of them.)"""
    population, _ = lines(120, seed=0)
    start = mixture(population)
    best = mf.fit(start, population, mf.EM(), progress=False)
    method = mf.SAEM(likelihood_by=mf.Laplace())
    fit = mf.fit(start, population, method, key=KEY, progress=False)
    assert fit.converged, fit.message
    assert fit.log_likelihood == pytest.approx(best.log_likelihood, abs=1e-4)
    within(fit, best, 0.01)
    np.testing.assert_allclose(fit.responsibilities, best.responsibilities, atol=1e-3)
    assert fit.saem.conditional_mean.shape == (120, 4)


@pytest.mark.slow
def test_a_shared_parameter_and_one_held_fixed():
    population, _ = sixty()
    experts = (line(UP), line(DOWN))
    gate = mf.LinearGate(population, ["w"], ((0.2, 1.5),))
    start = mf.MixtureOfExperts(experts, gate=gate, shared=("omega", "sigma"))
    best = mf.fit(start, population, mf.EM(), fixed=("beta_1",), progress=False)
    method = mf.SAEM(likelihood_by=mf.Laplace())
    fit = mf.fit(start, population, method, fixed=("beta_1",), key=KEY, progress=False)
    assert fit.log_likelihood == pytest.approx(best.log_likelihood, abs=1e-4)
    np.testing.assert_array_equal(fit.model.beta_1, UP)
    within(fit, best, 0.01)


@pytest.mark.slow
def test_binary_experts_against_quadrature():
    """Where Laplace is not exact: two kinds of people who say yes more or less often."""
    people = mf.datasets.clustered_binary(jax.random.key(5), 150, 8)
    truth = mf.MixtureOfExperts((Logistic(b0=-1.5, omega=0.5), Logistic(b0=1.5, omega=0.5)), shared=("omega",))
    people = mf.simulate(truth, people, jax.random.key(6))
    best = mf.fit(truth, people, mf.AGQ(15), progress=False)
    fit = mf.fit(truth, people, mf.SAEM(likelihood_by=mf.AGQ(15)), key=KEY, progress=False)
    assert best.converged
    assert fit.log_likelihood == pytest.approx(best.log_likelihood, abs=1e-4)

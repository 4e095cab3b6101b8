"""EM of a mixture of experts: it never falls, and ends where direct maximisation does."""

import numpy as np
import pytest
from experts import KEY, UP, line, lines, mixture, sixty

import mefit as mf
from mefit.methods.alike import split
from mefit.methods.classes import assignment_entropy, class_table, empty_classes
from mefit.methods.em import EM


@pytest.fixture(scope="module")
def direct():
    population, _ = sixty()
    return mf.fit(mixture(population), population, mf.Laplace(), progress=False)


def climbed(fit):
    return np.diff([-0.5 * step.minus_two_objective for step in fit.history])


def test_alone_it_climbs_to_where_direct_maximisation_ends(direct):
    population, _ = sixty()
    fit = mf.fit(mixture(population), population, mf.EM(polish=False), progress=False)
    assert fit.ending is mf.Ending.CONVERGED and fit.method.likelihood
    assert climbed(fit).min() >= -1e-9 * abs(fit.log_likelihood)
    assert fit.log_likelihood == pytest.approx(direct.log_likelihood, abs=1e-4)
    np.testing.assert_allclose(fit.model.beta_1, direct.model.beta_1, atol=0.01)
    np.testing.assert_allclose(fit.responsibilities, direct.responsibilities, atol=0.005)


@pytest.mark.slow
def test_with_quasi_newton_steps_it_ends_at_the_maximum_from_drawn_starts(direct):
    population, second = sixty()
    flat = mf.MixtureOfExperts((line([0.1, 0.1]), line([0.0, 0.0])), gate=mf.LinearGate(population, ["w"]))
    fit = mf.fit(flat, population, mf.EM(starts=3, order=lambda e: -e.beta[1]), key=KEY, progress=False)
    assert fit.converged and isinstance(fit.method, EM)
    assert fit.log_likelihood == pytest.approx(direct.log_likelihood, abs=1e-5)
    assert float(fit.model.beta_1[1]) > float(fit.model.beta_2[1])
    assert fit.remarks[0].startswith("3 starts of EM came to the log-likelihoods")
    # almost everybody is put where they belong
    assert np.mean((fit.responsibilities[:, 1] > 0.5) == second) > 0.9
    # errors from the information, the scores and both: for a model that is right they are alike
    np.testing.assert_allclose(
        mf.observed_information(fit).table.se["beta_1[slope]"], direct.table.se["beta_1[slope]"], rtol=1e-3
    )
    assert "Classes" in str(fit) and "certainty" in str(fit)


def test_where_experts_begin_alike_the_first_start_alone_finds_both_kinds(direct):
    """From the same expert twice the likelihood has a saddle: EM splits the subjects, and direct climbing says so."""
    population, second = sixty()
    same = line([0.0, 0.5])
    start = mf.MixtureOfExperts((same, same), gate=mf.LinearGate(population, ["w"]))
    fit = mf.fit(start, population, mf.EM(), progress=False)
    assert fit.converged and fit.log_likelihood == pytest.approx(direct.log_likelihood, abs=1e-5)
    assert any("began alike" in remark for remark in fit.remarks)
    right = np.mean((fit.responsibilities[:, 1] > 0.5) == second)
    assert max(right, 1.0 - right) > 0.9
    many = mf.fit_many(start, [population])
    assert many.converged.all() and many.log_likelihood[0] == pytest.approx(direct.log_likelihood, abs=1e-4)
    stays = mf.fit(start, population, mf.Laplace(), progress=False)
    assert stays.log_likelihood < direct.log_likelihood - 10.0
    assert any("say the same of everybody" in remark for remark in stays.remarks)


def test_a_split_finds_groups_in_any_unit():
    rng = np.random.default_rng(1)
    group = np.arange(60) % 3
    effects = np.array([[0.0, 0.0], [8.0, 1.0], [4.0, 9.0]])[group] + rng.normal(size=(60, 2))
    for units in ([1.0, 1.0], [1e6, -1e-5]):
        found = split(effects * units, 3)
        np.testing.assert_allclose(found.sum(axis=1), 1.0)
        place = np.argmax(found, axis=1)
        assert found.max() == pytest.approx(0.9)
        assert all(np.unique(place[group == k]).size == 1 for k in range(3)) and np.unique(place).size == 3
    assert np.argmax(split(np.zeros((4, 0)), 2), axis=1).tolist() == [0, 1, 0, 1]
    assert np.isfinite(split(np.zeros((4, 2)), 2)).all()


@pytest.mark.slow
def test_drawn_starts_are_put_in_the_order_of_their_shares():
    population, second = lines(90, seed=5, steepness=0.0, up=[4.0, 0.0], down=[-4.0, 0.0])
    rare = np.flatnonzero(second)[:15]
    few = population[np.sort(np.concatenate([np.flatnonzero(~second), rare])).tolist()]
    start = mf.MixtureOfExperts((line([-4.0, 0.0]), line([4.0, 0.0])))
    fit = mf.fit(start, few, mf.EM(starts=2), key=KEY, progress=False)
    assert float(fit.model.share[0]) == pytest.approx(1.0 - 15 / len(few), abs=1e-3)
    assert float(fit.model.beta_1[0]) > 3.0 and float(fit.model.beta_2[0]) < -3.0


@pytest.mark.slow
def test_a_class_too_many_is_told():
    """Everybody is on one line, and the second class is far from all: its share goes to zero."""
    population, _ = lines(40, seed=7, up=UP, down=UP)
    start = mf.MixtureOfExperts((line(UP), line([-60.0, 0.0])))
    fit = mf.fit(start, population, mf.EM(), progress=False)
    assert any("class 2 is empty" in remark for remark in fit.remarks)


@pytest.mark.slow
def test_a_class_that_collapses_onto_one_point_is_told():
    """A class without random effects on one subject with equal responses: its SD goes to zero, the likelihood to
    infinity."""
    population, _ = lines(20, seed=8, up=UP, down=UP)
    y = np.asarray(population.subjects.y).copy()
    y[0] = 30.0
    spiked = population.with_responses(y)
    start = mf.MixtureOfExperts((line(UP), line([30.0, 0.0], omega=np.diag([1e-6, 1e-6]), sigma=0.5)))
    fit = mf.fit(start, spiked, mf.EM(), fixed=("omega_2", "beta_2"), progress=False)
    assert not fit.converged and fit.ending is mf.Ending.UNBOUNDED
    assert "sigma_2" in fit.message


def test_it_needs_a_mixture():
    population, _ = sixty()
    with pytest.raises(ValueError, match="needs a mixture of experts, and Line is none"):
        mf.fit(line(UP), population, mf.EM(), progress=False)
    with pytest.raises(ValueError, match="one or more starts"):
        mf.fit(mixture(population), population, mf.EM(starts=0), progress=False)
    with pytest.raises(ValueError, match="key"):
        mf.fit(mixture(population), population, mf.EM(starts=2), progress=False)


def test_entropy_and_table_of_classes():
    r = np.array([[1.0, 0.0], [0.5, 0.5], [0.1, 0.9], [0.0, 1.0]])
    np.testing.assert_allclose(assignment_entropy(r), [0.0, np.log(2), 0.3250829733914482, 0.0], atol=1e-12)
    table = class_table(r)
    assert table.share.tolist() == [0.4, 0.6] and table.assigned.tolist() == [2, 2]
    assert table.certainty.tolist() == [0.75, 0.95]
    assert table.attrs["entropy"] == pytest.approx(1.0 - (np.log(2) + 0.3250829733914482) / (4 * np.log(2)))
    assert empty_classes(r) == () and "class 1 is empty" in empty_classes(np.array([[0.1, 0.9], [0.2, 0.8]]))[0]

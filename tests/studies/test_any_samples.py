"""Areas from any samples: the exact posterior as it is known, and an autoencoder's held against it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mefit as mf
from workshop.studies import any_samples as study

KEY = jax.random.key(4)


def test_people_to_learn_from_are_as_they_were_meant():
    people = study.to_learn_from(400, seed=1)
    seen = np.asarray(people.subjects.mask)
    assert seen.sum(axis=1).min() == 1 and seen.sum(axis=1).max() == 6
    assert seen.sum() / 400 == pytest.approx(3.5, abs=0.25)
    time = np.asarray(people.subjects.time)[seen]
    assert np.median(time) == pytest.approx(np.sqrt(study.FIRST * study.LAST), rel=0.15)
    assert set(np.asarray(people.subjects.doses.amount).ravel()) == set(study.DOSES)


@pytest.mark.slow
@pytest.mark.parametrize(("design", "sd"), [("none", 0.299), ("4 h", 0.278), ("24 h", 0.134), ("2, 24 h", 0.115)])
def test_the_exact_posterior_is_as_wide_as_it_was_measured(design, sd):
    """Of 200 people, by a program of its own: .299 without a sample, .278, .134 and .115 with these."""
    people = study.patients(100, study.DESIGNS[design], seed=2)
    found = study.weighed(study.truth(), people, KEY, draws=1000)
    assert found.sd.mean() == pytest.approx(sd, rel=0.06)
    assert np.mean(np.abs(people.log_area - found.mean) < 3.5 * found.sd) > 0.97


@pytest.mark.slow
def test_the_area_of_a_decoder_is_that_of_its_curve():
    """The grid holds all but a little of an area, of the truth's own curves dose over clearance."""
    people = study.patients(3, (4.0, 24.0), seed=1)
    known = mf.individual(study.truth(), people.population, draws=20, key=KEY)
    exact = study.log_areas(known)
    by_grid = np.log(np.trapezoid(np.exp(known.curves(study._TIME[1:])), study._TIME[1:], axis=-1))
    np.testing.assert_allclose(by_grid, exact, atol=0.02)


@pytest.mark.slow
def test_an_encoders_answers_are_its_gaussians():
    population = study.to_learn_from(30, seed=1)
    model = study.decoder(population)
    encoder = mf.networks.SetEncoder(
        population, 3, basis=mf.networks.LevellingOff.over(population), covariates=["dose"]
    )
    method = mf.Adam(mf.Amortised(encoder, samples=20), steps=20, block=20)
    fit = mf.fit(model, population, method, key=KEY, progress=False)
    people = study.patients(4, (4.0, 24.0), seed=1)
    found = study.unweighed(fit, people, KEY, draws=4000)
    for i in range(4):  # by the slope of the area at the mean, of a Gaussian
        q = fit.encoder(people.population[i])
        subject = people.population[i]

        def log_area(eta, subject=subject):
            return jnp.log(jnp.trapezoid(100.0 * fit.model.response(study._TIME[1:], eta), study._TIME[1:]))

        slope = np.asarray(jax.grad(log_area)(q.mean) @ q.lower)
        assert found.mean[i] == pytest.approx(float(log_area(q.mean)), abs=0.15)
        assert found.sd[i] == pytest.approx(np.linalg.norm(slope), rel=0.3)


@pytest.mark.slow
def test_what_a_second_sample_promises_is_what_the_dosing_rule_says():
    """The Gaussian formula against the kit's own, which weighs draws by simulated samples."""
    people = study.patients(6, (24.0,), seed=3)
    times = [1.0, 4.0, 28.0]
    known = mf.individual(study.truth(), people.population, draws=2000, key=KEY)
    told = study.second_sample(known, times)
    goal = mf.dosing.Goal(time=np.concatenate([[0.01], study._TIME[1:]]), target=(20.0, 50.0), link=np.exp)
    table = mf.dosing.next_time(known, times, goal, outcomes=60).table
    expected = [table.sd[[one == (t,) for one in table.times]].mean() for t in times]
    np.testing.assert_allclose(told.promised, expected, rtol=0.06)


def test_a_direction_that_sleeps_sends_the_second_sample_to_the_edges():
    """After one sample at 24 h, with all three directions a sample at 4 h leaves least; with two, one is left, which
    every sample seems to show, and those at both edges most. Numbers by finite differences in another program."""
    times = [0.25, 0.5, 1.0, 4.0, 8.0, 24.0, 28.0]
    three = study.promised_by_directions(times, 3)
    two = study.promised_by_directions(times, 2)
    np.testing.assert_allclose(three, [0.118, 0.117, 0.114, 0.110, 0.110, 0.119, 0.122], atol=6e-4)
    np.testing.assert_allclose(two, [0.088, 0.089, 0.092, 0.103, 0.102, 0.098, 0.099], atol=6e-4)
    assert times[np.argmin(three)] in (4.0, 8.0) and times[np.argmin(two)] == 0.25


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_it_is_nearly_as_good_as_the_exact_posterior(seed):
    """A thousand people to learn from, the best of three trainings; means over the five designs that have samples.

    One of three directions sleeps in each. Of six trainings two alone would be above the bound, 1.085 and 1.100. Seeds
    2 to 4 gave 1.037, 1.020 and 1.025, and intervals that hold as many as the exact ones: .905 (exact .908), .925
    (.919), .877 (.878).
    """
    fit = study.best_of(study.to_learn_from(1000, seed), seeds=(seed, 10 * seed + 1, 10 * seed + 2))
    table = study.compared(fit, seed=seed)
    means = table.drop(index="none", level="design").groupby(level="way").mean()
    print(f"seed {seed}: sigma {float(fit.model.sigma):.3f}, gap {fit.amortised.gap:.3f}, {fit.amortised.divergence}")
    print(table.round(3).to_string(), means.round(3).to_string(), sep="\n")
    weighed = means.loc["encoder, weighed"]
    assert weighed["over exact"] < 1.06
    assert 0.87 <= weighed.cover <= 0.93

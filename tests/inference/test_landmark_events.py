"""Events foretold row by row, of people who are free of them at the row before: against Gauss-Hermite quadrature."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jaxtyping import Array

import mefit as mf

KEY = jax.random.key(5)
RATE = 0.5
POINT, WEIGHT = np.polynomial.hermite_e.hermegauss(60)
WEIGHT = WEIGHT / WEIGHT.sum()
HAZARD = RATE * np.exp(POINT)


class Frail(mf.Model):
    """A hazard that is constant in time, and people who differ in it."""

    rate: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(0.0, 1.0)

    def observations(self, eta, subject):
        return mf.hazard(lambda t: jnp.log(self.rate) + eta + 0.0 * t, subject)


class ByHand(Frail):
    """The same, its integrals from row to row whether they were seen or not."""

    def observations(self, eta, subject):
        rate = self.rate * jnp.exp(eta)
        return mf.Event(jnp.log(rate), rate * jnp.diff(subject.time, prepend=0.0))


def people_of(*records):
    rows = [(who, 1.0 + j, y) for who, record in enumerate(records) for j, y in enumerate(record)]
    frame = pd.DataFrame(rows, columns=["ID", "TIME", "DV"])
    return mf.Population.from_frame(frame, drop_unobserved=None)


def survival(t):
    """Of anybody: the mean over the random effect."""
    return WEIGHT @ np.exp(-HAZARD * t)


@pytest.mark.parametrize("kind", [Frail, pytest.param(ByHand, marks=pytest.mark.slow)])
def test_an_event_is_foretold_of_those_who_are_still_free_of_it(kind):
    """From the start on all people are alike, and the chance of a row is 1 - S(j) / S(j - 1)."""
    people = people_of([0, 0, 2], [0, 1], [2], [0, 0, 0], [np.nan, np.nan, np.nan])
    ahead = mf.landmark(kind(rate=RATE), people, at=0.0, draws=4000, proposed=20000, key=KEY)
    found = ahead.predictions
    seen = found[found.ID < 4]
    truth = np.array([1.0 - survival(t) / survival(t - 1.0) for t in seen.TIME])
    np.testing.assert_allclose(seen.probability, truth, atol=0.012)
    np.testing.assert_allclose(seen.brier, (truth - (seen.DV != 0)) ** 2, atol=0.025)
    joint = [
        survival(2.0) - survival(3.0),
        WEIGHT @ (HAZARD * np.exp(-2.0 * HAZARD)),
        1.0 - survival(1.0),
        survival(3.0),
    ]
    np.testing.assert_allclose(seen.groupby("ID").log_score.sum(), np.log(joint), atol=0.04)


def test_the_log_scores_of_a_person_add_up_to_that_of_all_rows_together():
    """To the last digit, over the draws that were made; with a visit missing, and from a later landmark."""
    people = people_of([0, 0, np.nan, 0, 2], [0, np.nan, 1, np.nan], [0, 0, 0, 0, 0])
    ahead = mf.landmark(Frail(rate=RATE), people, at=[0.0, 1.0], draws=50, key=KEY)
    for at in (0.0, 1.0):
        rate = RATE * np.exp(ahead.individuals[at].eta[:, :, 0])
        joint = [
            np.exp(-rate[0] * (4.0 - at)) * -np.expm1(-rate[0]),
            rate[1] * np.exp(-rate[1] * (3.0 - at)),
            np.exp(-rate[2] * (5.0 - at)),
        ]
        found = ahead.predictions[ahead.predictions.AT == at].groupby("ID").log_score.sum()
        np.testing.assert_allclose(found, np.log(np.mean(joint, axis=1)), rtol=1e-6)


def test_it_is_told_of_whom_few_draws_are_free_for_long():
    """Free for 200 mean times, next to nobody is, but those of the smallest hazards."""
    rows = [("brief", 1.0, 0.0), ("brief", 2.0, 0.0), ("long", 1.0, 0.0), ("long", 400.0, 0.0), ("long", 401.0, 0.0)]
    people = mf.Population.from_frame(pd.DataFrame(rows, columns=["ID", "TIME", "DV"]))
    ahead = mf.landmark(Frail(rate=RATE), people, at=0.0, draws=200, key=KEY)
    (remark,) = ahead.remarks
    assert "told for subject long (of the first from time 401 on) rest on fewer than 20 of 200 draws" in remark
    free = np.exp(-400.0 * RATE * np.exp(ahead.individuals[0.0].eta[1, :, 0]))
    assert free.sum() ** 2 / np.sum(free**2) < 20.0
    assert not mf.landmark(Frail(rate=RATE), people[:1], at=0.0, draws=200, key=KEY).remarks


@pytest.mark.slow
def test_rows_that_were_not_seen():
    """Of `hazard` the chance counts from the last visit, by hand from the row before, given free of it there."""
    people = people_of([0, np.nan, np.nan], [0, np.nan, 2])
    for kind, since in ((Frail, [1.0, 1.0]), (ByHand, [1.0, 2.0])):
        ahead = mf.landmark(kind(rate=RATE), people, at=0.0, draws=4000, proposed=20000, key=KEY).predictions
        truth = [1.0 - survival(t) / survival(s) for t, s in zip([2.0, 3.0], since, strict=True)]
        for _, part in ahead[ahead.TIME > 1.0].groupby("ID"):
            np.testing.assert_allclose(part.probability, truth, atol=0.012)


@pytest.mark.slow
def test_an_event_that_comes_again_is_foretold_from_the_landmark_alone():
    """Nobody leaves, and each row has the chance E[1 - exp(-H)] = 1 - S(1)."""
    people = people_of([1, 0, 1], [0, 0, 0])
    ahead = mf.landmark(Frail(rate=RATE), people, at=0.0, draws=4000, proposed=20000, key=KEY)
    np.testing.assert_allclose(ahead.predictions.probability, 1.0 - survival(1.0), atol=0.012)


def test_it_is_told_that_an_event_is_taken_to_come_again():
    """One row too many changes what is foretold of everybody."""
    people = people_of([0, 0, 1], [0, 1, 0])
    (remark,) = mf.landmark(Frail(rate=RATE), people, at=0.0, draws=20, key=KEY).remarks
    assert remark.startswith("the event is taken to come again, since subject 1 has rows after one")
    assert not mf.landmark(Frail(rate=RATE), people_of([0, 0, 1], [0, 1]), at=0.0, draws=20, key=KEY).remarks


def test_an_event_found_at_a_visit_counts_once_in_baselines():
    people = people_of([0, 0, 2], [0, 2], [2], [0, 0, 0], [0, 1])
    ahead = mf.landmark(Frail(rate=RATE), people, at=[0.0, 1.0], draws=20, baselines=True, reference=people, key=KEY)
    found = ahead.predictions
    np.testing.assert_allclose(found.population_mean, np.array([np.nan, 1 / 5, 2 / 4, 1 / 2])[found.TIME.astype(int)])
    overall = 4.0 / 11.0
    np.testing.assert_allclose(found.own_mean[found.AT == 0.0], overall)
    np.testing.assert_allclose(found.own_mean[found.AT == 1.0], 2.0 * overall / 3.0)
    rows = ahead.table[(ahead.table.AT == 0.0) & (ahead.table.by == "population mean")].iloc[0]
    part = found[found.AT == 0.0]
    assert rows.brier == pytest.approx(np.mean((part.population_mean - (part.DV != 0)) ** 2))
    chance = np.where(part.DV != 0, part.population_mean, 1.0 - part.population_mean)
    assert rows.log_score == pytest.approx(np.mean(np.log(chance)))

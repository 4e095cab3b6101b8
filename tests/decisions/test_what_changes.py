"""Doses for one person whose weight or occasion changes, or whose past samples were censored.

The curve is flat again, c = amount exp(-eta) 60 / wt, so that all answers are known.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from test_doses_for_one import IN_LOGS, PEOPLE, Median, people_with

import mefit as mf


class Grown(Median):
    """A heavier person has less."""

    def observations(self, eta, subject):
        return dist.Normal(super().observations(eta, subject).loc - jnp.log(subject.covariates["wt"] / 60), self.sigma)


class Again(Median):
    """Each occasion has a random effect of its own beside the person's."""

    def random_effects(self):
        return dist.Normal(jnp.zeros(3), self.omega)

    def observations(self, eta, subject):
        occasion = subject.covariates["occasion"].astype(int)
        return dist.Normal(super().observations(eta[0], subject).loc - eta[1 + occasion], self.sigma)


DOSES = {"100": mf.regimen(100.0)}
CERTAIN = people_with([0.0, 0.2], [1e-6, 1e-6], model=Grown, wt=[60.0, 66.0, 60.0, 66.0])


def median_of(people, goal):
    return mf.dosing.choose(people, DOSES, goal).table["median"].to_numpy()


@pytest.mark.parametrize("weight", [60.0, 120.0])
def test_a_weight_that_changed_is_said_for_the_new_dose(weight):
    goal = dataclasses.replace(IN_LOGS, covariates={"wt": weight})
    np.testing.assert_allclose(median_of(CERTAIN, goal), 100 * 60 / weight * np.exp([0.0, -0.2]), rtol=1e-4)
    found = mf.dosing.find(CERTAIN, mf.regimen, (20.0, 400.0), goal)
    assert 80 < float(found.chosen[1]) * 60 / weight < 125


def test_an_occasion_to_come():
    people = people_with([0.0, 0.0], [1e-6, 1e-6], model=Again, occasion=[0.0, 1.0] * 2)
    eta = np.broadcast_to([0.1, 0.3, -0.5], (*people.eta.shape[:2], 3))
    people = dataclasses.replace(people, eta=eta)
    for occasion, own in ((0, 0.3), (1, -0.5)):
        goal = dataclasses.replace(IN_LOGS, covariates={"occasion": occasion})
        np.testing.assert_allclose(median_of(people, goal), 100 * np.exp(-0.1 - own), rtol=1e-9)


def test_what_cannot_be_known_is_refused():
    held = dataclasses.replace(IN_LOGS, covariates={"wt": 60.0})
    with pytest.raises(ValueError, match="wt changes in time: say what it will be"):
        mf.dosing.choose(CERTAIN, DOSES, IN_LOGS)
    with pytest.raises(ValueError, match=r"hangs on what it was between the rows.*added=False"):
        mf.dosing.choose(CERTAIN, DOSES, dataclasses.replace(held, added=True))
    with pytest.raises(ValueError, match="give people whose covariates are constant"):
        mf.dosing.next_time(CERTAIN, [1.0], held)
    with pytest.raises(ValueError, match="covariate height is given, and those that change in time are none"):
        mf.dosing.choose(PEOPLE, DOSES, dataclasses.replace(IN_LOGS, covariates={"height": 1.8}))
    with pytest.raises(ValueError, match="covariate wt is nan: give a finite number"):
        mf.dosing.choose(CERTAIN, DOSES, dataclasses.replace(IN_LOGS, covariates={"wt": np.nan}))


def test_a_sample_to_come_is_not_censored_though_old_ones_were():
    frame = pd.DataFrame(
        {
            "ID": [1, 1, 2, 2],
            "TIME": [0.0, 1.0] * 2,
            "AMT": [100.0, 0.0] * 2,
            "DV": [np.nan, 4.0] * 2,
            "CENS": [0, 1] * 2,
        }
    )
    censored = dataclasses.replace(PEOPLE, population=mf.Population.from_frame(frame))
    assert censored.population.subjects.censored is not None
    seen = dataclasses.replace(PEOPLE, population=mf.Population.from_frame(frame.drop(columns="CENS")))
    after = [mf.dosing.next_time(people, [1.0], IN_LOGS, outcomes=20, regimens=DOSES) for people in (censored, seen)]
    pd.testing.assert_frame_equal(after[0].table, after[1].table)
    assert after[0].table.sd[1] < 0.6 * after[0].table.sd[0]

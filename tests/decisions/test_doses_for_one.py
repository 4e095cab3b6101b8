"""Doses for one person against closed forms: log exposure is normal, so hits, losses and a sample's worth are known.

The curve is flat, c = amount exp(-eta), so that cmax and the area over one unit of time are amount exp(-eta); the draws
of eta are the quantiles of N(m, s^2), which stand for it to three digits.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jaxtyping import Array
from scipy import optimize
from scipy.stats import norm

import mefit as mf

DRAWS = 2000
TIME = np.linspace(0.0, 1.0, 3)
TARGET = (80.0, 125.0)
GOAL = mf.dosing.Goal(time=TIME, target=TARGET)


class Flat(mf.Model):
    """log y = log(sum of the doses so far) - eta + e."""

    omega: Array = mf.positive()
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(0.0, self.omega)

    def observations(self, eta, subject):
        given = jnp.where(subject.doses.time <= subject.time[:, None], subject.doses.amount, 0.0)
        return dist.LogNormal(jnp.log(jnp.sum(given, axis=1)) - eta, self.sigma)


class Median(Flat):
    """The same for log concentrations, whose mean is the logarithm of the curve."""

    def observations(self, eta, subject):
        return dist.Normal(super().observations(eta, subject).loc, self.sigma)


def frame(**columns):
    return pd.DataFrame({"ID": [1, 1, 2, 2], "TIME": [0.0, 1.0] * 2, "AMT": [100.0, 0.0] * 2, "DV": np.nan} | columns)


def people_with(means, sds, model=Median, fitted_on=None, **columns):
    """Two people whose eta are N(m, s^2)."""
    population = mf.Population.from_frame(frame(**columns), drop_unobserved=None, covariates=[*columns])
    quantiles = norm.ppf((np.arange(DRAWS) + 0.5) / DRAWS)
    eta = (np.asarray(means)[:, None] + np.asarray(sds)[:, None] * quantiles)[..., None]
    return mf.Individuals(
        model=model(omega=jnp.asarray(0.3), sigma=jnp.asarray(0.2)),
        population=population,
        eta=eta,
        effective_sample_size=np.full(2, float(DRAWS)),
        pareto_k=np.zeros(2),
        key=jax.random.key(1),
        fitted_on=fitted_on,
    )


IN_LOGS = dataclasses.replace(GOAL, link=np.exp)
PEOPLE = people_with([0.0, 0.2], [0.3, 0.1])


def expected(dose, mean, sd, over=5.0, under=1.0):
    """Shares below and above, and the loss, of log exposure ~ N(log dose - mean, sd^2)."""
    below = norm.cdf((np.log(TARGET[0] / dose) + mean) / sd)
    above = norm.sf((np.log(TARGET[1] / dose) + mean) / sd)
    return below, above, under * below + over * above


def test_shares_and_losses_are_those_of_the_normal_law():
    doses = {"80": 80.0, "100": 100.0, "130": 130.0}
    choice = mf.dosing.choose(PEOPLE, {name: mf.regimen(dose) for name, dose in doses.items()}, IN_LOGS)
    table = choice.table.set_index(["ID", "regimen"])
    for person, mean, sd in ((1, 0.0, 0.3), (2, 0.2, 0.1)):
        losses = {}
        for name, dose in doses.items():
            row = table.loc[(person, name)]
            below, above, losses[name] = expected(dose, mean, sd)
            np.testing.assert_allclose([row.below, row.above, row.inside], [below, above, 1 - below - above], atol=1e-3)
            assert row.loss == pytest.approx(losses[name], abs=5e-3)
            assert row["median"] == pytest.approx(dose * np.exp(-mean), rel=1e-3)
        assert choice.chosen[person] == min(losses, key=losses.get)
    assert "no medical advice" in repr(choice) and "no medical advice" in choice._repr_html_()


def test_hits_of_a_window_by_the_spread_alone():
    """P(80 to 125%) = 2 Phi(log(1.25) / s) - 1 at the dose that aims at its middle."""
    people = people_with([0.0, 0.0], [0.3, 0.15])
    table = mf.dosing.choose(people, {"middle": mf.regimen(100.0)}, IN_LOGS).table
    np.testing.assert_allclose(table.inside, [0.5430, 0.863], atol=2e-3)


@pytest.mark.parametrize("loss", [mf.dosing.Window(), mf.dosing.Window(1.0, 1.0), mf.dosing.Distance(3.0, 1.0)])
def test_the_best_amount_is_that_of_the_closed_form(loss):
    """The distance outside has E max(0, x - h) = s phi(z) - (h - m) (1 - Phi(z)), z = (h - m) / s."""

    def lost(log_dose, mean, sd):
        if isinstance(loss, mf.dosing.Window):
            return expected(np.exp(log_dose), mean, sd, loss.over, loss.under)[2]
        total = 0.0
        for end, sign, factor in ((TARGET[1], 1.0, loss.over), (TARGET[0], -1.0, loss.under)):
            away = sign * (log_dose - mean - np.log(end))
            total += factor * (sd * norm.pdf(away / sd) + away * norm.cdf(away / sd))
        return total

    found = mf.dosing.find(PEOPLE, mf.regimen, (20.0, 400.0), dataclasses.replace(IN_LOGS, loss=loss))
    for person, mean, sd in ((1, 0.0, 0.3), (2, 0.2, 0.1)):
        best = optimize.minimize_scalar(lost, bounds=np.log([20, 400]), args=(mean, sd), method="bounded")
        assert lost(np.log(float(found.chosen[person])), mean, sd) < best.fun + 2e-3
        assert float(found.chosen[person]) == pytest.approx(np.exp(best.x), rel=0.03)


def test_amounts_that_can_be_given():
    found = mf.dosing.find(PEOPLE, mf.regimen, (20.0, 400.0), IN_LOGS, step=25.0)
    assert set(found.chosen.values()) <= {"75", "100", "125"}
    with pytest.raises(ValueError, match="no multiple of 500"):
        mf.dosing.find(PEOPLE, mf.regimen, (20.0, 400.0), IN_LOGS, step=500.0)
    with pytest.raises(ValueError, match="0 < low < high"):
        mf.dosing.find(PEOPLE, mf.regimen, (0.0, 400.0), IN_LOGS)


@pytest.mark.slow
def test_a_loading_dose_and_the_next_are_found_together():
    """The curve is flat at the sum of what was given: over the first unit the loading dose, then both."""

    def both_levels(time, curves):
        first = curves[..., 0]
        later = curves[..., -1]
        return 100.0 * np.exp(-np.abs(np.log(first / 100.0)) - np.abs(np.log(later / 300.0)))

    certain = people_with([0.0, 0.0], [1e-6, 1e-6])
    goal = dataclasses.replace(
        IN_LOGS, time=np.array([0.0, 2.0]), quantity=both_levels, target=(100.0, None), loss=mf.dosing.Distance()
    )
    found = mf.dosing.find(
        certain,
        lambda loading, amount: mf.regimen(amount, every=1.0, count=2, loading=loading),
        [(20.0, 500.0), (20.0, 500.0)],
        goal,
    )
    loading, amount = map(float, found.chosen[1].split(", "))
    assert loading == pytest.approx(100.0, rel=0.02)
    assert amount == pytest.approx(200.0, rel=0.02)


def test_a_ceiling_keeps_a_regimen_from_being_chosen():
    risk = mf.dosing.Ceiling("cmax", above=110.0, probability=0.2)
    goal = dataclasses.replace(IN_LOGS, loss=mf.dosing.Window(1.0, 1.0), ceilings=(risk,))
    choice = mf.dosing.choose(PEOPLE, {"70": mf.regimen(70), "100": mf.regimen(100)}, goal)
    row = choice.table.set_index(["ID", "regimen"]).loc[(1, "100")]
    assert row["cmax above 110"] == pytest.approx(norm.sf(np.log(1.1) / 0.3), abs=1e-3)
    assert choice.chosen[1] == "70" and choice.chosen[2] == "100"
    hard = dataclasses.replace(goal, ceilings=(mf.dosing.Ceiling("cmax", above=1.0, probability=0.0),))
    choice = mf.dosing.choose(PEOPLE, {"70": mf.regimen(70)}, hard)
    assert choice.chosen == {1: None, 2: None} and "none that keeps the ceilings" in repr(choice)
    amount = float(mf.dosing.find(PEOPLE, mf.regimen, (20.0, 400.0), goal).chosen[1])
    assert norm.sf(np.log(110 / amount) / 0.3) == pytest.approx(0.2, abs=0.01)


def test_doses_may_come_on_top_of_those_that_were_given():
    certain = people_with([0.0, 0.0], [1e-6, 1e-6])
    for added, level in ((False, 50.0), (True, 150.0)):
        goal = dataclasses.replace(IN_LOGS, added=added, quantity="cmin")
        table = mf.dosing.choose(certain, {"50": mf.regimen(50)}, goal).table
        np.testing.assert_allclose(table["median"], level, rtol=1e-4)


def test_quantities_by_name_and_by_function():
    certain = people_with([0.0, 0.0], [1e-6, 1e-6])
    for quantity, value in (("auc", 50), ("cmax", 50), ("trough", 50), ("time_above", 1), (lambda t, c: c[..., 1], 50)):
        goal = dataclasses.replace(IN_LOGS, quantity=quantity, above=40.0)
        table = mf.dosing.choose(certain, {"50": mf.regimen(50)}, goal).table
        np.testing.assert_allclose(table["median"], value, rtol=1e-4)


def test_one_sample_narrows_what_is_known_as_the_closed_form_says():
    """log y = log c - eta + e: the posterior SD after n samples is (1 / s^2 + n / sigma^2)^(-1/2)."""
    after = mf.dosing.next_time(PEOPLE, [1.0, 2.0, 3.0], IN_LOGS, outcomes=200)
    two = mf.dosing.next_time(PEOPLE, [1.0, 2.0, 3.0], IN_LOGS, outcomes=200, ahead=2)
    for person, sd in ((1, 0.3), (2, 0.1)):
        for table, count in ((after.table, 1), (two.table, 2)):
            own = table[table.ID == person]
            assert own.sd.iloc[0] == pytest.approx(sd, rel=2e-3)
            np.testing.assert_allclose(own.sd.iloc[1:], (1 / sd**2 + count / 0.04) ** -0.5, rtol=0.03)
    assert after.remarks == (mf.dosing.next_time(PEOPLE, [1.0], IN_LOGS).remarks)


def test_a_sample_is_worth_what_the_dose_chosen_after_it_saves():
    """The loss after a sample is that of the best dose at the narrower spread, on average over the sample: for a dose
    that may be anything this is the least loss at the posterior SD."""
    regimens = {f"{dose:.4g}": mf.regimen(dose) for dose in np.geomspace(30, 300, 60)}
    after = mf.dosing.next_time(PEOPLE, [1.0], IN_LOGS, regimens=regimens, outcomes=400)
    for person, mean, sd in ((1, 0.0, 0.3), (2, 0.2, 0.1)):
        own = after.table[after.table.ID == person]
        for row, spread in zip(own.itertuples(), (sd, (1 / sd**2 + 1 / 0.04) ** -0.5), strict=True):
            least = min(expected(dose, mean, spread)[2] for dose in np.geomspace(30, 300, 60))
            assert row.loss == pytest.approx(least, abs=0.04)
    costly = mf.dosing.next_time(PEOPLE, [1.0], IN_LOGS, regimens=regimens, cost=1.0)
    assert costly.best == {1: (), 2: ()}
    assert mf.dosing.next_time(PEOPLE, [1.0], IN_LOGS, regimens=regimens).best[1] == (1.0,)


def test_what_lies_beyond_the_fit_is_said():
    fitted = people_with([0.0, 0.0], [0.3, 0.3], wt=[60.0, 60.0, 80.0, 80.0]).population
    seen = dataclasses.replace(fitted, subjects=dataclasses.replace(fitted.subjects, mask=fitted.subjects.real))
    people = people_with([0.0, 0.0], [0.3, 0.3], fitted_on=seen, wt=[70.0, 70.0, 130.0, 130.0])
    goal = dataclasses.replace(IN_LOGS, time=np.array([0.0, 1.0]))
    choice = mf.dosing.choose(people, {"100": mf.regimen(100), "300": mf.regimen(300)}, goal)
    beyond = choice.table.set_index(["ID", "regimen"]).beyond
    assert beyond[(1, "100")] == ""
    assert beyond[(1, "300")] == "a dose of 300 lies beyond those fitted, 100"
    assert beyond[(2, "100")] == "wt of 130 lies beyond those fitted, 60 to 80"
    assert any("guesses" in remark for remark in choice.remarks)
    late = mf.dosing.choose(people, {"100": mf.regimen(100)}, dataclasses.replace(goal, time=np.array([0.0, 5.0])))
    assert late.table.beyond[0] == "the time 5 lies after the last that was fitted, 1"
    assert any("cannot be told" in remark for remark in mf.dosing.choose(PEOPLE, {"1": mf.regimen(1)}, IN_LOGS).remarks)
    next_sample = mf.dosing.next_time(people, [0.5, 7.0], goal)
    assert [bool(text) for text in next_sample.table.beyond] == [False, False, True] * 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target": (125.0, 80.0)}, "give its lower end first"),
        ({"target": (None, None)}, "None for one that is open"),
        ({"quantity": "peak"}, "no quantity 'peak'"),
        ({"quantity": "time_above"}, "this with above="),
        ({"time": [1.0]}, "two times or more"),
    ],
)
def test_goals_that_cannot_be(options, words):
    with pytest.raises(ValueError, match=words):
        mf.dosing.Goal(**({"time": TIME, "target": TARGET} | options))


def test_questions_that_cannot_be():
    with pytest.raises(ValueError, match="regimens are doses by name"):
        mf.dosing.choose(PEOPLE, {}, IN_LOGS)
    with pytest.raises(ValueError, match="must give one number for each curve"):
        mf.dosing.choose(PEOPLE, {"1": mf.regimen(1)}, dataclasses.replace(IN_LOGS, quantity=lambda t, c: c))
    with pytest.raises(ValueError, match="0 or below: use Window"):
        negative = dataclasses.replace(GOAL, loss=mf.dosing.Distance())
        mf.dosing.choose(PEOPLE, {"0.1": mf.regimen(0.1)}, negative)
    with pytest.raises(ValueError, match="1 or 2 samples ahead"):
        mf.dosing.next_time(PEOPLE, [1.0], IN_LOGS, ahead=2)
    with pytest.raises(ValueError, match="two numbers of 0 or more"):
        mf.dosing.Window(over=-1.0)
    with pytest.raises(ValueError, match="less than 1"):
        mf.dosing.Ceiling("cmax", above=1.0, probability=1.0)


class TwoOutcomes(Flat):
    """The curve as "drug", and an effect that is its logarithm."""

    def observations(self, eta, subject):
        drug = super().observations(eta, subject)
        return {"drug": dist.Normal(jnp.exp(drug.loc), self.sigma), "effect": dist.Normal(drug.loc, self.sigma)}


def test_one_of_several_outcomes_has_the_goal():
    named = pd.DataFrame(
        {
            "ID": [1, 1, 1, 2, 2, 2],
            "TIME": [0.0, 1.0, 1.0] * 2,
            "AMT": [100.0, 0.0, 0.0] * 2,
            "DV": [np.nan, 100.0, 4.6] * 2,
            "DVID": ["drug", "drug", "effect"] * 2,
        }
    )
    population = mf.Population.from_frame(named, drop_unobserved=None)
    model = TwoOutcomes(omega=jnp.asarray(0.3), sigma=jnp.asarray(0.2))
    people = dataclasses.replace(PEOPLE, model=model, population=population)
    regimens = {"100": mf.regimen(100.0)}
    drug = mf.dosing.choose(people, regimens, dataclasses.replace(GOAL, outcome="drug"))
    alone = mf.dosing.choose(PEOPLE, regimens, IN_LOGS)
    np.testing.assert_allclose(drug.table.inside, alone.table.inside, atol=1e-12)
    with pytest.raises(ValueError, match="say which outcome= the target is for: drug, effect"):
        mf.dosing.choose(people, regimens, GOAL)
    after = mf.dosing.next_time(people, [1.0], dataclasses.replace(GOAL, outcome="drug"), outcomes=20)
    assert np.all(after.table.sd.iloc[[1, 3]].to_numpy() < after.table.sd.iloc[[0, 2]].to_numpy())


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_other_units_of_doses_choose_the_same(factor):
    goal = dataclasses.replace(IN_LOGS, target=(TARGET[0] * factor, TARGET[1] * factor))
    plain = mf.dosing.find(PEOPLE, mf.regimen, (20.0, 400.0), IN_LOGS)
    other = mf.dosing.find(PEOPLE, mf.regimen, (20.0 * factor, 400.0 * factor), goal)
    for person in (1, 2):
        assert float(other.chosen[person]) == pytest.approx(factor * float(plain.chosen[person]), rel=2e-3)


def test_one_person_alone_is_judged_as_among_others():
    regimens = {"80": mf.regimen(80.0), "100": mf.regimen(100.0)}
    together = mf.dosing.choose(PEOPLE, regimens, IN_LOGS).table
    alone = mf.dosing.choose(PEOPLE[1], regimens, IN_LOGS).table
    pd.testing.assert_frame_equal(alone, together[together.ID == 2].reset_index(drop=True))

"""The search for covariates: likelihood ratios against closed forms and refits, and a truth that was simulated."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jaxtyping import Array
from scipy.optimize import minimize
from scipy.stats import chi2, multivariate_normal

import mefit as mf
from mefit.decisions import covariate_search as module
from mefit.inference.many import ENDED
from mefit.model.covariate_effects import factor, relate

TIMES = np.linspace(0.0, 1.0, 5)


class Lines(mf.Model):
    """A straight line with independent random intercept and slope: every likelihood is in closed form."""

    level: Array = mf.real()
    slope: Array = mf.real()
    omega: Array = mf.diagonal_covariance(names=("level", "slope"))
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(2), self.omega)

    def observations(self, eta, subject):
        return dist.Normal(self.level + eta[0] + (self.slope + eta[1]) * subject.time, self.sigma)


@pytest.fixture(scope="module")
def people():
    """Eighty people whose level follows log weight by 2 and whose slope follows sex by -1.5; age does nothing."""
    rng = np.random.default_rng(8)
    count = 80
    wt = rng.uniform(40.0, 110.0, count)
    sex = (np.arange(count) % 2).astype(float)
    age = rng.uniform(20.0, 70.0, count)
    level = 5.0 + 2.0 * np.log(wt / 70.0) + 0.5 * rng.normal(size=count)
    slope = 3.0 - 1.5 * sex + 0.7 * rng.normal(size=count)
    y = level[:, None] + slope[:, None] * TIMES + 0.4 * rng.normal(size=(count, TIMES.size))
    rows = {"ID": np.repeat(np.arange(count), TIMES.size), "TIME": np.tile(TIMES, count), "DV": y.ravel()}
    columns = {name: np.repeat(x, TIMES.size) for name, x in {"wt": wt, "sex": sex, "age": age}.items()}
    return mf.Population.from_frame(pd.DataFrame(rows | columns), covariates=["wt", "sex", "age"])


@pytest.fixture(scope="module")
def base(people):
    start = Lines(level=4.0, slope=2.0, omega=jnp.diag(jnp.array([0.5, 0.5])), sigma=0.5)
    return mf.fit(start, people, mf.FOCE(), progress=False)


@pytest.fixture(scope="module")
def found(base):
    return mf.covariate_search(base, progress=False)


def exact(population, shifts):
    """-2 log L at its minimum with these columns of z on (level, slope), by SciPy."""
    y = np.asarray(population.subjects.y)
    design = np.stack([np.ones(TIMES.size), TIMES], axis=1)
    count = sum(len(columns) for columns in shifts)

    def loss(x):
        coefficients = iter(x[5:])
        mean = np.tile(x[:2], (len(y), 1))
        for effect, columns in enumerate(shifts):
            for z in columns:
                mean[:, effect] += next(coefficients) * z
        v = design @ np.diag(np.exp(x[2:4])) @ design.T + np.exp(x[4]) * np.eye(TIMES.size)
        return -2.0 * multivariate_normal.logpdf(y - mean @ design.T, np.zeros(TIMES.size), v).sum()

    start = np.concatenate([[5.0, 2.0, -1.0, -1.0, -1.5], np.zeros(count)])
    return minimize(loss, start, method="BFGS", options={"gtol": 1e-5}).fun


def amounts(population):
    covariates = {name: np.asarray(x) for name, x in population.subjects.covariates.items()}
    wt, age = covariates["wt"], covariates["age"]
    return {"wt": np.log(wt / np.median(wt)), "age": np.log(age / np.median(age)), "sex": covariates["sex"]}


def test_likelihood_ratios_of_the_first_round_are_those_of_scipy(people, base, found):
    z = amounts(people)
    nothing = exact(people, ([], []))
    assert base.minus_two_log_likelihood == pytest.approx(nothing, abs=1e-4)
    first = found.steps[found.steps["round"] == 1].set_index("relation")
    assert len(first) == 6
    for relation, shifts in {"wt on level": ([z["wt"]], []), "sex on slope": ([], [z["sex"]])}.items():
        change = exact(people, shifts) - nothing
        assert first.change[relation] == pytest.approx(change, abs=2e-3)
        assert first.p[relation] == pytest.approx(chi2.sf(-change, 1), rel=0.01)
        assert first["BIC change"][relation] == pytest.approx(change + np.log(80), abs=2e-3)


def test_what_was_simulated_is_chosen_and_recovered(people, found):
    assert {"wt on level", "sex on slope"} <= {relation.label for relation in found.chosen}
    table = found.fit.table
    for label, truth in {"effect[wt on level]": 2.0, "effect[sex on slope]": -1.5}.items():
        assert abs(table.estimate[label] - truth) < 3.0 * table.se[label] < 1.5
    z = amounts(people)
    shifts = ([z["wt"]], [z["sex"]])
    if len(found.chosen) == 2:
        assert found.fit.minus_two_log_likelihood == pytest.approx(exact(people, shifts), abs=1e-3)
    last = found.steps.iloc[-1]
    assert last.direction == "backward" and last.change == pytest.approx(found.steps.change.iloc[-1])
    assert any("on average exaggerated" in remark for remark in found.remarks)


def test_bic_takes_a_relation_only_if_it_pays_log_n(base):
    chosen = mf.covariate_search(base, bic=True, progress=False)
    joined = chosen.steps[chosen.steps.decision == "joins"]
    assert len(joined) >= 2 and (joined["BIC change"] < 0).all()
    assert (joined.change < -np.log(80)).all()


def test_a_search_that_is_stopped_goes_on_to_the_same_end(base, found, monkeypatch):
    whole, calls = module._tried, []

    def stopped(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(*args)

    monkeypatch.setattr(module, "_tried", stopped)
    half = mf.covariate_search(base, progress=False)
    assert half.fit is None and half.remarks[0].startswith("interrupted") and half.steps["round"].max() == 1
    monkeypatch.setattr(module, "_tried", whole)
    on = mf.covariate_search(base, resume=half, progress=False)
    pd.testing.assert_frame_equal(on.steps, found.steps)
    assert on.chosen == found.chosen
    with pytest.raises(ValueError, match="resume takes a search of the same fit"):
        mf.covariate_search(base, ["wt"], resume=half, progress=False)


def test_the_forest_holds_exp_of_the_effect_times_z(people, found):
    row = found.forest[found.forest.relation == "wt on level"].iloc[-1]
    wt = np.asarray(people.subjects.covariates["wt"])
    told = found.fit.table.loc["effect[wt on level]"]
    z = np.log(np.percentile(wt, 95) / np.median(wt))
    assert row.value == pytest.approx(np.percentile(wt, 95))
    assert row.factor == pytest.approx(np.exp(told.estimate * z))
    assert row.low == pytest.approx(np.exp((told.estimate - 1.959964 * told.se) * z), rel=1e-6)
    sex = found.forest[found.forest.relation == "sex on slope"]
    assert len(sex) == 1 and sex.value.iloc[0] == 1.0 and sex.reference.iloc[0] == 0.0
    picture = mf.plots.forest(found).figure
    assert len(mf.style.png(picture)) > 5000


def test_the_form_of_a_relation_follows_the_values(base, people):
    wt = relate(base.model, people, "level", "wt")
    assert wt.power and wt.centre == np.median(np.asarray(people.subjects.covariates["wt"]))
    assert factor(wt, 0.75, 2.0 * wt.centre) == pytest.approx(2.0**0.75)
    assert relate(base.model, people, "slope", "sex") == (1, "slope", "sex", False, 0.0)


def test_a_model_with_effects_is_a_model_like_any_other(base, found, tmp_path):
    model = mf.CovariateEffects(base.model, [relate(base.model, base.population, "level", "wt")], [2.0])
    assert float(model.sigma) == float(base.model.sigma)
    simulated = mf.simulate(model, base.population, jax.random.key(0), eta=jnp.zeros((80, 2)))
    assert simulated.subjects.y.shape == (80, 5)
    shift = np.asarray(mf.predict(model, base.population)) - np.asarray(mf.predict(base.model, base.population))
    np.testing.assert_allclose(shift, np.tile(2.0 * amounts(base.population)["wt"][:, None], 5), atol=1e-12)
    mf.save(found.fit, tmp_path / "found.mefit")
    again = mf.load(tmp_path / "found.mefit", models=[Lines])
    assert str(again) == str(found.fit)


@pytest.mark.parametrize(
    ("candidates", "words"),
    [
        (["height"], "covariate 'height' is not one of the population's: wt, sex, age"),
        ({"ka": ["wt"]}, "Lines has no random effect 'ka': choose from level, slope"),
        ([], "there is no covariate to try"),
    ],
)
def test_what_cannot_be_tried_is_refused(base, candidates, words):
    with pytest.raises(ValueError, match=words):
        mf.covariate_search(base, candidates, progress=False)
    with pytest.raises(ValueError, match="are probabilities"):
        mf.covariate_search(base, forward=1.5)


@pytest.mark.parametrize("chosen, change, stays", [((), 6.0, True), ((0,), -12.0, False)])
def test_a_larger_model_that_fits_worse_proves_nothing(base, chosen, change, stays):
    """One that ends 6 above the model without its relation does not join, one that ends 12 above leaves."""
    relations = (relate(base.model, base.population, "level", "wt"),)
    place = module._Place(relations, chosen, np.zeros(1), -100.0, (), 0, "backward" if chosen else "forward")

    class Work(module._Work):
        def __init__(self):
            self.count = 100

        def maxima(self, begin, sets):
            return np.array([-100.0 - change / 2]), np.zeros((1, 1))

    sets = [()] if chosen else [(0,)]
    onward = module._tried(Work(), place, sets, [0], module._Rules(0.05, 0.01, None))
    assert (onward.chosen == place.chosen) is stays
    assert onward.rows[0]["p"] == 1.0


def test_where_a_search_that_has_stopped_counts_little_is_missing(base, monkeypatch):
    """A slope of .05 for a move of one standard error is a hundredth of -2LL at most; steeper ends are not found."""
    work = module._Work(base, (relate(base.model, base.population, "level", "wt"),))
    [value], [best] = work.maxima(work.x, [(0,)])
    everyone = np.ones((1, work.count), int)
    for place in range(best.size):
        away = best + ENDED * work.root[:, place]
        there = work.pairs.total(away[None], everyone)
        assert 0.0 <= 2.0 * (value + float(there.value[0])) < 0.01
        assert 0.5 < np.abs(there.score[0] @ work.root[:, place]) / ENDED < 2.0
    whole = module.maximise_many
    for slope, known in {0.04: True, 0.06: False}.items():
        monkeypatch.setattr(
            module, "maximise_many", lambda *a, s=slope, **k: whole(*a, **k)._replace(gradient=np.array([s]))
        )
        assert np.isfinite(work.maxima(work.x, [(0,)])[0][0]) == known

"""New regimens: their doses, their exposure against closed forms, the people they are given to, and what is refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jaxtyping import Array
from models import theophylline_model
from test_outcomes import TWO, Two

import mefit as mf
from mefit import plots, style

DAYS = np.linspace(0.0, 48.0, 193)
DAILY = {"daily": mf.regimen(8, every=24, count=2), "twice": mf.regimen(4, every=12, count=4, loading=8)}


@pytest.fixture(scope="module")
def result(fitted):
    return mf.simulate_regimens(fitted(mf.FOCE()), DAILY, DAYS, key=jax.random.key(1), subjects=200)


def simulated(fit, regimens, time, subjects=200, **options):
    """With as many people as `result`, so that what is compiled serves both."""
    return mf.simulate_regimens(fit, regimens, time, key=jax.random.key(1), subjects=subjects, **options)


def test_doses_of_a_regimen():
    doses = mf.regimen(100, every=12, count=3, start=1.0, duration=0.5, compartment=2, loading=250)
    np.testing.assert_array_equal(doses.amount, [250, 100, 100])
    np.testing.assert_array_equal(doses.time, [1, 13, 25])
    np.testing.assert_array_equal(doses.duration, [0.5] * 3)
    np.testing.assert_array_equal(doses.compartment, [2] * 3)
    assert doses.steady_state is None and mf.regimen(5).time.tolist() == [0.0]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"amount": -1}, "amount is -1; give a finite number, 0 or more"),
        ({"amount": np.nan}, "amount is nan"),
        ({"amount": 1, "start": np.inf}, r"start is inf; give a finite number\."),
        ({"amount": 1, "loading": -2, "every": 1, "count": 2}, "loading is -2"),
        ({"amount": 1, "duration": -1}, "duration is -1"),
        ({"amount": 1, "count": 3}, "3 doses need the time from one to the next, such as every=12"),
        ({"amount": 1, "count": 0}, "count is 0 and compartment 1; both are whole numbers from 1 on"),
        ({"amount": 1, "compartment": 0}, "compartment 0"),
    ],
    ids=lambda x: "" if isinstance(x, str) else "-".join(x),
)
def test_a_regimen_that_cannot_be(wrong, words):
    with pytest.raises(ValueError, match=words):
        mf.regimen(**wrong)


def test_exposure_against_the_closed_form():
    """After one oral dose tmax = log(ka / ke) / (ka - ke) and the whole area is F dose / CL."""
    ka, cl, v, share, amount = 1.2, 3.0, 20.0, 0.7, 100.0
    time = np.concatenate([np.linspace(0, 20, 20001), np.linspace(20.02, 200, 9000)])
    zero = np.zeros(time.shape)
    subject = mf.Subject(time, zero, zero, {}, mf.regimen(amount))
    curve = jax.jit(lambda one: mf.pk.oral_one_compartment(one, ka=ka, cl=cl, v=v, bioavailability=share))(subject)
    found = mf.exposure(time, curve)
    ke = cl / v
    peak = np.log(ka / ke) / (ka - ke)
    assert found["tmax"] == pytest.approx(peak, abs=1e-3)
    assert found["cmax"] == pytest.approx(share * amount / v * (ka / ke) ** (-ke / (ka - ke)), rel=1e-6)
    assert found["auc"] == pytest.approx(share * amount / cl, rel=1e-5) and found["cmin"] == 0.0
    many = mf.exposure(time, np.stack([curve, 2 * curve]))
    np.testing.assert_allclose(many["auc"], found["auc"] * np.array([1, 2]))
    np.testing.assert_array_equal(many["tmax"], found["tmax"])
    np.testing.assert_allclose(
        mf.exposure(np.stack([time, time + 1]), np.stack([curve] * 2))["tmax"][1], peak + 1, 1e-3
    )
    slope = jax.jit(jax.grad(lambda x: mf.exposure(time, x * jnp.asarray(curve))["auc"]))(1.0)
    assert slope == pytest.approx(found["auc"])  # a derived quantity of a model: it can be compiled, and has a slope


def test_exposure_refuses_what_has_none():
    for time, curve, words in (
        ([0.0, 2.0, 1.0], [1.0, 2.0, 3.0], "times must rise"),
        ([0.0, np.nan, 1.0], [1.0, 2.0, 3.0], "times must rise"),
        ([0.0, 1.0, np.inf], [1.0, 2.0, 3.0], "be finite"),
        ([0.0, 1.0, 2.0], [1.0, np.nan, 3.0], "concentrations be finite"),
        ([0.0, 1.0], [[1.0, 2.0, 3.0]], r"time has shape \(2,\), concentration \(1, 3\)"),
    ):
        with pytest.raises(ValueError, match=words):
            mf.exposure.__wrapped__(np.array(time), np.array(curve))


@pytest.mark.slow
def test_the_time_above_a_level_is_told_for_everyone(fitted):
    found = simulated(fitted(mf.FOCE()), DAILY, DAYS, above=3.0)
    assert list(found.subjects.columns)[-6:] == ["cmax", "tmax", "cmin", "trough", "auc", "time_above"]
    never = found.subjects.cmax <= 3.0
    always = found.subjects.cmin > 3.0
    assert (found.subjects.time_above[never] == 0).all() and (found.subjects.time_above[always] == 48).all()
    assert found.subjects.time_above.between(0, 48).all() and found.subjects.time_above.nunique() > 100


def test_many_doses_come_to_steady_state(fitted):
    """Forty doses have come as far as a dose at steady state, and one dose has not."""
    steady = mf.Doses.of(4.0, time=468.0, interval=12.0, steady_state=True)
    regimens = {"40": mf.regimen(4.0, every=12, count=40), "steady": steady, "once": mf.regimen(4.0, start=468.0)}
    found = simulated(fitted(mf.FOCE()), regimens, 468 + np.linspace(0.0, 12.0, 25), subjects=50).subjects
    many, at_once, once = (found[found.regimen == name] for name in regimens)
    for quantity in ("cmax", "tmax", "cmin", "trough", "auc"):
        np.testing.assert_allclose(at_once[quantity], many[quantity], rtol=1e-5)
    assert (once.auc.to_numpy() < at_once.auc.to_numpy()).all()


def test_table_and_curves_are_percentiles_over_the_virtual_subjects(result):
    assert list(result.table.columns) == ["regimen", "quantity", "5%", "50%", "95%"] and len(result.table) == 10
    assert list(result.subjects.columns) == ["regimen", "subject", "wt", "cmax", "tmax", "cmin", "trough", "auc"]
    for _, row in result.table.iterrows():
        values = result.subjects.loc[result.subjects.regimen == row.regimen, row.quantity]
        np.testing.assert_allclose(row[["5%", "50%", "95%"]].astype(float), np.percentile(values, [5, 50, 95]))
    assert list(result.curves.columns) == ["regimen", "TIME", "5%", "50%", "95%"] and len(result.curves) == 2 * 193
    np.testing.assert_array_equal(result.curves.TIME[:193], DAYS)
    last = result.curves[result.curves.TIME == DAYS[-1]].set_index("regimen")[["5%", "50%", "95%"]]
    trough = result.table[result.table.quantity == "trough"].set_index("regimen")[["5%", "50%", "95%"]]
    np.testing.assert_allclose(trough, last, rtol=1e-12)  # the last point of each curve
    assert (result.time_label, result.y_label) == ("time (h)", "theophylline (mg/L)")
    assert "200 virtual subjects" in repr(result) and "daily" in repr(result) and "auc" in repr(result)
    page = result._repr_html_()
    assert (
        page.count("<tr") == 11 and "theophylline (mg/L), time (h)" in page and f"{result.table['50%'][0]:.4g}" in page
    )


def test_virtual_subjects_are_those_of_the_fitted_model(fitted, result):
    """Their etas are normal with the fitted variances, and the same people get every regimen."""
    fit = fitted(mf.FOCE())
    typical = dict(ka=float(fit.model.ka), cl=float(fit.model.cl), v=float(fit.model.v))
    day = np.concatenate([np.linspace(0, 24, 241), np.linspace(25, 200, 176)])
    many = simulated(fit, {"one": mf.regimen(8), "two": mf.regimen(16)}, day, subjects=2000).subjects
    one, two = (many[many.regimen == name].reset_index() for name in ("one", "two"))
    np.testing.assert_allclose(two.auc, 2 * one.auc)
    np.testing.assert_array_equal(one.wt, two.wt)
    log_cl = np.log(8 / one.auc)  # CL = dose / AUC
    assert log_cl.mean() == pytest.approx(np.log(typical["cl"]), abs=0.03)
    assert log_cl.std() == pytest.approx(float(jnp.sqrt(fit.model.omega[1, 1])), rel=0.06)
    weights = np.asarray(fit.population.subjects.covariates["wt"])
    assert set(one.wt) == set(weights) and one.wt.mean() == pytest.approx(weights.mean(), abs=1.0)
    again = simulated(fit, DAILY, DAYS)
    pd.testing.assert_frame_equal(again.table, result.table)
    other = mf.simulate_regimens(fit, DAILY, DAYS, key=jax.random.key(2), subjects=200)
    assert not np.allclose(other.table["50%"], result.table["50%"])


def test_naive_pooling_makes_everyone_typical(fitted, theophylline):
    fit = fitted(mf.NaivePooled())
    pooled = simulated(fit, DAILY, DAYS)
    exact = mf.predict(fit.model, theophylline.with_doses(DAILY["daily"]), time=DAYS)[0]
    for column in ("5%", "50%", "95%"):
        np.testing.assert_allclose(pooled.curves[column][:193], exact, rtol=1e-10)
    assert "typical but for covariates" in repr(pooled)
    lost = dataclasses.replace(fit, method=mf.JointMLE())  # which estimates no variance either
    with pytest.raises(ValueError, match="Joint maximum likelihood has not estimated SD of omega.ka."):
        simulated(lost, DAILY, DAYS)


class Growing(mf.Model):
    """A level that follows a weight and, by an indicator, a group."""

    slope: Array = mf.real()
    shift: Array = mf.real()
    omega: Array = mf.positive()
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(0.0, self.omega)

    def observations(self, eta, subject):
        level = self.slope * subject.covariates["wt"] + self.shift * subject.covariates["group"] + eta
        return dist.Normal(level + 0.0 * subject.time, self.sigma)


@pytest.fixture(scope="module")
def growing():
    """A weight that changes in time, and two groups."""
    rng = np.random.default_rng(1)
    wt, group = 60 + rng.normal(size=(6, 3)), np.arange(6) % 2
    y = wt + 2.0 * group[:, None] + rng.normal(size=(6, 1)) + 0.1 * rng.normal(size=(6, 3))
    columns = {"ID": np.repeat(np.arange(6), 3), "TIME": np.tile([0.0, 1, 2], 6), "DV": y.ravel(), "wt": wt.ravel()}
    frame = pd.DataFrame(columns | {"group": np.repeat(group, 3)})
    population = mf.Population.from_frame(frame, covariates=["wt", "group"])
    return mf.fit(Growing(slope=1.0, shift=1.0, omega=1.0, sigma=0.3), population, mf.FO(), progress=False)


@pytest.mark.slow
def test_covariates_are_those_given(growing):
    """Numbers for all, or people drawn together; what changes in time needs to be given."""
    time, none, slope, shift = (
        np.arange(4.0),
        {"none": mf.regimen(0)},
        *map(float, (growing.model.slope, growing.model.shift)),
    )
    with pytest.raises(ValueError, match=r"covariate wt changes in time: say how, in covariates={'wt': ...}"):
        simulated(growing, none, time)
    held = simulated(growing, none, time, subjects=3000, covariates={"wt": 50.0, "group": 0})
    assert set(held.subjects.group) == {0.0} and "wt" not in held.subjects
    assert held.curves["50%"].to_numpy() == pytest.approx(np.full(4, 50 * slope), abs=0.1)
    people = pd.DataFrame({"wt": [40.0, 80.0], "group": [0.0, 1.0]})
    drawn = simulated(growing, none, time, subjects=3000, covariates=people).subjects
    centre = drawn.groupby("group").cmax.mean()
    assert centre[0] == pytest.approx(40 * slope, abs=0.15) and centre[1] == pytest.approx(80 * slope + shift, abs=0.15)
    rising = simulated(growing, none, time, subjects=3000, covariates={"wt": 50 + np.outer([1, 1], time), "group": 1.0})
    assert np.diff(rising.curves["50%"]) == pytest.approx(np.full(3, slope), abs=1e-9)
    for wrong, words in (
        ({"wt": 50.0, "age": 3.0}, "covariate age is not one of the fitted population's: "),
        ({"wt": [50.0, 60.0], "group": [1.0, 0.0, 1.0]}, "give a finite number, or one for each of L people"),
        ({"wt": np.ones((2, 5))}, r"covariate wt of shape \(2, 5\)"),
        ({"wt": 50.0, "group": np.ones((2, 4))}, r"covariate group of shape \(2, 4\)"),
        ({"wt": np.nan}, r"covariate wt of shape \(\): give a finite number"),
        ({"wt": []}, r"covariate wt of shape \(0,\)"),
    ):
        with pytest.raises(ValueError, match=words):
            simulated(growing, none, time, covariates=wrong)


def test_each_virtual_subject_has_its_own_draw_of_theta(growing):
    """What is not known of theta widens the band."""
    slope = 1.0 + 0.1 * np.random.default_rng(1).normal(size=50)
    still = dataclasses.replace(growing.model, shift=jnp.zeros(()), omega=jnp.asarray(1e-6))
    models = jax.tree.map(lambda x: jnp.repeat(x[None], 50, 0), still)
    models = dataclasses.replace(models, slope=jnp.asarray(slope))
    draws = mf.Draws(models, np.zeros((50, 6, 1)), np.zeros(50, bool), pd.DataFrame({"chain": np.ones(50, int)}))
    fit = dataclasses.replace(growing, model=still, draws=draws)
    wide = simulated(fit, {"none": mf.regimen(0)}, np.arange(2.0), covariates={"wt": 50.0}).subjects
    found = np.sort(wide.cmax)  # 200 people, four of each draw
    np.testing.assert_allclose(found.reshape(50, 4), np.sort(50 * slope)[:, None] + np.zeros(4), atol=1e-4)


def test_one_of_several_outcomes(growing):
    time = np.array([0.0, 1.0, 2.0])
    y = {"pk": np.arange(3.0), "pd": 2.0 + np.zeros(3)}
    people = [
        mf.Subject(time=time, y={k: x + i for k, x in y.items()}, mask={k: np.ones(3) for k in y}) for i in range(4)
    ]
    about = {"model": Two(**TWO), "population": mf.Population.from_subjects(people), "fixed": tuple(TWO), "status": ()}
    fit = dataclasses.replace(growing, **about)  # at its true values
    found = simulated(fit, {"none": mf.regimen(0)}, time, outcome="pd")
    assert found.y_label == "pd" and found.curves["50%"].to_numpy() == pytest.approx(np.full(3, 2.0), abs=0.3)
    for name, words in (
        (None, "several outcomes .pd, pk."),
        ("effect", "no outcome 'effect'; this population has pd, pk"),
    ):
        with pytest.raises(ValueError, match=words):
            simulated(fit, {"none": mf.regimen(0)}, time, outcome=name)


def test_what_cannot_be_simulated_is_a_sentence(fitted):
    fit = fitted(mf.FOCE())
    for regimens, time, options, words in (
        ({}, DAYS, {}, "regimens are doses by name"),
        (DAILY, [0.0], {}, "time needs two times or more"),
        (DAILY, [0.0, 2.0, 1.0], {}, "finite and rising"),
        (DAILY, [0.0, np.nan], {}, "finite and rising"),
        (DAILY, DAYS, {"subjects": 0}, "one virtual subject or more"),
        (DAILY, DAYS, {"percentiles": (5, 105)}, "percentiles between 0 and 100"),
        (DAILY, DAYS, {"outcome": "effect"}, "There is no outcome 'effect'; this population has one"),
    ):
        with pytest.raises(ValueError, match=words):
            simulated(fit, regimens, np.array(time), **options)
    with pytest.raises(ValueError, match="give it a key, for instance"):
        mf.simulate_regimens(fit, DAILY, DAYS)


class Ode(type(theophylline_model())):
    """One state, so that a dose into the second compartment has nowhere to go."""

    def observations(self, eta, subject):
        cl, v = self.cl * jnp.exp(eta[1]), self.v * jnp.exp(eta[2])
        solver = mf.dynamics.Tsit5(rtol=1e-4, atol=1e-6)
        return dist.Normal(
            mf.dynamics.solve(lambda t, y: [-cl / v * y[0]], [0.0], subject, solver=solver)[:, 0] / v, self.sigma
        )


def test_predictions_that_are_not_finite_are_refused(fitted, theophylline):
    fit = fitted(mf.FOCE())
    fit = dataclasses.replace(fit, model=Ode(**vars(fit.model)))
    with pytest.raises(ValueError, match="regimen lost: not all predictions are finite; look at its compartments"):
        simulated(fit, {"kept": mf.regimen(1), "lost": mf.regimen(1, compartment=2)}, np.array([0.0, 1.0]), subjects=5)


def test_a_population_with_other_doses(theophylline):
    model = theophylline_model()
    same = theophylline.with_doses(mf.regimen(4, every=12, count=2))
    assert same.n_doses == 24 and same[3].doses.time.tolist() == [0, 12] and theophylline.n_doses == 12
    each = theophylline.with_doses([mf.regimen(i + 1, every=6, count=i % 3 + 1, start=1.0) for i in range(12)])
    for i, subject in enumerate(each):
        np.testing.assert_array_equal(subject.doses.amount, [i + 1] * (i % 3 + 1))
    expected = mf.predict(model, each[[4]])[0]
    np.testing.assert_allclose(mf.predict(model, each)[4], expected)
    back = theophylline.with_doses(theophylline.subjects.doses)
    np.testing.assert_array_equal(mf.predict(model, back), mf.predict(model, theophylline))
    mixed = theophylline[:2].with_doses([mf.regimen(1), mf.Doses.of(1.0, interval=12.0, steady_state=True)])
    first, second = (mf.predict(model, mixed[[i]], time=[1.0])[0, 0] for i in (0, 1))
    assert first < second and first == mf.predict(model, theophylline[[0]].with_doses(mf.regimen(1)), time=[1.0])[0, 0]
    for wrong in ([mf.regimen(1)] * 3, same[:5].subjects.doses):
        with pytest.raises(ValueError, match="needs doses for all of its 12 subjects: one Doses, or 12"):
            theophylline.with_doses(wrong)


def test_the_picture_draws_the_curves(result):
    panels = plots.regimens(result, window=(5.0, 15.0))
    assert [ax.get_title("left") or ax.get_title() for ax in panels] == ["daily", "twice"]
    for ax, name in zip(panels, ("daily", "twice"), strict=True):
        curve = result.curves[result.curves.regimen == name]
        line = next(line for line in ax.get_lines() if line.get_label() == "50%")
        np.testing.assert_array_equal(line.get_xydata(), curve[["TIME", "50%"]])
        assert line.get_color() == style.COLOUR["marginal"]
        band = ax.collections[0].get_paths()[0].vertices[:, 1]
        assert (band.min(), band.max()) == (curve["5%"].min(), curve["95%"].max())
    assert panels[0].get_ylim() == panels[1].get_ylim() and panels[0].get_ylabel() == "theophylline (mg/L)"
    window = panels[1].patches[0].get_extents().transformed(panels[1].transData.inverted())
    assert (window.y0, window.y1) == pytest.approx((5, 15))
    assert "daily, twice" in panels[0].figure.alt and panels[0].figure._repr_png_()[0].startswith(b"\x89PNG")
    own = style.figure().subplots(1, 2)
    assert plots.regimens(result, own)[1] is own[1]
    with pytest.raises(ValueError, match="its low end, then its high end"):
        plots.regimens(result, window=(15.0, 5.0))

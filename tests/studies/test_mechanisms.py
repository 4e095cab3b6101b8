"""Mechanisms on real data and on studies of known truth: closed forms, ODEs, several outcomes, covariates."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jaxtyping import Array
from scipy import stats

import mefit as mf
from mefit import dynamics
from mefit.model.numbers import entries


def blank(times, doses, count=1, outcomes=()):
    """`count` subjects with these times and doses, and nothing measured yet."""
    y = {k: np.zeros(len(times)) for k in outcomes} or np.zeros(len(times))
    seen = {k: np.ones(len(times)) for k in outcomes} or np.ones(len(times))
    return mf.Population.from_subjects([mf.Subject(np.asarray(times, float), y, seen, {}, doses)] * count)


def distance(fit, true):
    """How many of its standard errors each number of the table is from the truth."""
    table = fit.table
    return (table.estimate - [float(entry.value(true)) for entry in entries(true)]) / table.se


# ---------------------------------------------------------------- phenobarbital


class Newborn(mf.Model):
    """One compartment and boluses; clearance and volume follow a power of the weight."""

    cl: Array = mf.positive(unit="L/h")
    v: Array = mf.positive(unit="L")
    power: Array = mf.real(names=("cl", "v"))
    omega: Array = mf.diagonal_covariance(names=("cl", "v"))
    sigma: Array = mf.positive(unit="mg/L")

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(2), self.omega)

    def rates(self, eta, subject):
        return jnp.stack([self.cl, self.v]) * subject.covariates["wt"] ** self.power * jnp.exp(eta)

    def observations(self, eta, subject):
        cl, v = self.rates(eta, subject)
        return dist.Normal(mf.pk.iv_bolus_one_compartment(subject, cl=cl, v=v), self.sigma)


class NewbornOde(Newborn):
    def observations(self, eta, subject):
        cl, v = self.rates(eta, subject)
        return dist.Normal(dynamics.solve(lambda t, y: [-cl / v * y[0]], [0.0], subject)[:, 0] / v, self.sigma)


def newborn(power, cl, v, kind=Newborn):
    return kind(cl=cl, v=v, power=[power, power], omega=jnp.diag(jnp.array([0.2, 0.1])), sigma=3.0)


@pytest.fixture(scope="module")
def newborns():
    """Fits without the weight, in proportion to it, and with free powers of it."""
    population, held = mf.datasets.phenobarbital(), {"fixed": "power", "progress": False}
    return {
        "none": mf.fit(newborn(0.0, 0.007, 1.4), population, mf.FOCE(), **held),
        "proportional": mf.fit(newborn(1.0, 0.005, 1.0), population, mf.FOCE(), **held),
        "free": mf.fit(newborn(1.0, 0.005, 1.0), population, mf.FOCE(), progress=False),
    }


@pytest.mark.slow
def test_phenobarbital_is_cleared_in_proportion_to_weight(newborns):
    """Grasela and Donn (1985): CL 0.0047 L/h/kg, with a CV of 19%, and V 0.96 L/kg, 16%, by way of the Apgar score."""
    fit = newborns["proportional"]
    assert fit.converged and float(fit.model.cl) == pytest.approx(0.0047, abs=2 * fit.table.se["cl"])
    assert float(fit.model.v) == pytest.approx(0.96, abs=2 * fit.table.se["v"])
    spread = np.sqrt(np.diagonal(fit.model.omega))
    assert spread == pytest.approx([0.19, 0.16], abs=0.05)


@pytest.mark.slow
def test_weight_is_found_by_a_likelihood_ratio(newborns):
    test = mf.likelihood_ratio_test(newborns["none"], newborns["free"])
    assert test.degrees_of_freedom == 2 and test.statistic > 100 and test.p_value < 1e-20
    again = mf.likelihood_ratio_test(newborns["proportional"], newborns["free"])
    assert again.p_value > 0.1  # and powers of 1 will do
    powers = newborns["free"].table.loc[["power[cl]", "power[v]"]]
    assert (np.abs(powers.estimate - 1) < 2 * powers.se).all() and (powers.estimate > 5 * powers.se).all()
    smaller = np.diagonal(newborns["proportional"].model.omega) / np.diagonal(newborns["none"].model.omega)
    assert (smaller < 0.3).all()  # what the weight explains is no longer random


@pytest.mark.slow
def test_phenobarbital_as_an_ode(newborns):
    population = mf.datasets.phenobarbital()
    start = newborn(1.0, 0.005, 1.0, NewbornOde)
    fit = mf.fit(start, population, mf.FOCE(), fixed="power", progress=False)
    assert fit.converged
    expected = newborns["proportional"].minus_two_log_likelihood
    assert fit.minus_two_log_likelihood == pytest.approx(expected, abs=1e-4)


# ---------------------------------------------------------------- pharmacokinetics and an indirect response


class Study(mf.Model):
    """A drug that stimulates what comes in: R' = kin (1 + effect(C)) - kout R, R(0) = kin / kout; C and R are seen."""

    ka: Array = mf.positive(unit="1/h")
    cl: Array = mf.positive(unit="L/h")
    vc: Array = mf.positive(unit="L")
    smax: Array = mf.positive()
    n: Array = mf.positive()
    sc50: Array = mf.positive(unit="mg/L")
    kout: Array = mf.positive(unit="1/h")
    kin: Array = mf.positive(unit="1/h")
    omega: Array = mf.diagonal_covariance(names=("smax", "sc50", "ka", "vc", "kout"))
    sigma_pk: Array = mf.positive(unit="mg/L")
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(5), self.omega)

    def observations(self, eta, subject):
        typical = jnp.stack([self.smax, self.sc50, self.ka, self.vc, self.kout])
        smax, sc50, ka, vc, kout = typical * jnp.exp(eta)

        def rhs(t, y):
            depot, central, response = y
            raised = jnp.maximum(central / vc, 1e-12) ** self.n
            effect = smax * raised / (sc50**self.n + raised)
            return [-ka * depot, ka * depot - self.cl / vc * central, self.kin * (1 + effect) - kout * response]

        start = jnp.stack([0.0, 0.0, self.kin / kout])
        y = dynamics.solve(rhs, start, subject, solver=dynamics.RK4(8))
        return {"pk": dist.Normal(y[:, 1] / vc, self.sigma_pk), "pd": dist.Normal(y[:, 2], self.sigma * y[:, 2])}


TRUTH = dict(ka=0.5, cl=1.0, vc=1.0, smax=2.9, n=1.5, sc50=0.05, kout=2.2, kin=0.8)
NOISE = dict(omega=0.04 * np.eye(5), sigma_pk=0.02, sigma=0.02)
START = dict(ka=0.7, cl=0.7, vc=1.4, smax=2.0, n=1.0, sc50=0.1, kout=1.5, kin=0.6)


def study(key, subjects, times, method, **noise):
    """A study of known truth, and its fit from a start far off."""
    true = Study(**TRUTH, **NOISE | noise)
    eta = jnp.zeros((subjects, 5)) if method == mf.NaivePooled() else None
    design = blank(times, mf.regimen(1.0, every=5, count=2), subjects, ("pk", "pd"))
    start = Study(**START, omega=0.1 * jnp.eye(5), sigma_pk=0.05, sigma=0.05)
    return true, mf.fit(start, mf.simulate(true, design, key, eta), method, progress=False)


@pytest.mark.slow
def test_two_outcomes_of_people_who_are_alike(key):
    """Without random effects the eight rates and both errors come out, each outcome weighed by its own."""
    true, fit = study(key, 6, np.arange(0.0, 12.1, 0.5), mf.NaivePooled())
    assert fit.converged
    apart = distance(fit, true).dropna()  # the omegas are not estimated
    assert len(apart) == 10 and (np.abs(apart) < 3).all(), apart
    np.testing.assert_allclose(mf.predict(true, fit.population)["pd"][:, 0], 0.8 / 2.2)


@pytest.mark.slow
def test_a_study_of_two_outcomes_is_recovered():
    """Over studies with keys 0 to 5 the root mean square of all these distances is 1.0, as it should be."""
    key = jax.random.key(1)
    true, fit = study(key, 40, np.arange(0.0, 15.1, 1.0), mf.FOCE())
    assert fit.converged
    apart = distance(fit, true)
    assert (np.abs(apart) < 3).all(), apart
    assert 0.5 < np.sqrt(np.mean(apart**2)) < 1.5 and np.abs(apart.mean()) < 1, (
        apart
    )  # not too sure, nor all to one side
    one = mf.simulate_regimens(fit, {"1": mf.regimen(1.0)}, np.linspace(0, 12, 25), key=key, outcome="pd", subjects=50)
    assert one.y_label == "pd" and one.table["50%"][0] > 2 * 0.8 / 2.2  # at its peak the response has doubled


# ---------------------------------------------------------------- covariates and occasions


class Occasions(mf.Model):
    """A level of each subject that changes from occasion to occasion."""

    level: Array = mf.real()
    between: Array = mf.positive()
    within: Array = mf.positive()
    sigma: Array = mf.positive()

    def random_effects(self):
        sd = jnp.stack([self.between, *3 * [self.within]])
        return dist.MultivariateNormal(jnp.zeros(4), jnp.diag(sd**2))

    def observations(self, eta, subject):
        occasion = subject.covariates["occasion"].astype(int)
        return dist.Normal(self.level + eta[0] + eta[1 + occasion], self.sigma)


def test_inter_occasion_variability_against_the_closed_form():
    rng, rows = np.random.default_rng(4), []
    for who in range(40):
        own = rng.normal()
        for occasion in range(2 + who % 2):  # not everyone comes a third time
            now = 5 + own + 0.7 * rng.normal()
            rows += [(who, 10 * occasion + t, now + 0.3 * rng.normal(), occasion + 1) for t in range(3)]
    population = mf.Population.from_frame(pd.DataFrame(rows, columns=["ID", "TIME", "DV", "OCC"]))
    model = Occasions(level=4.0, between=0.8, within=0.5, sigma=0.4)
    exact = 0.0
    for subject in population:
        same = np.equal.outer(*2 * [np.asarray(subject.covariates["occasion"])])
        covariance = 0.8**2 + 0.5**2 * same + 0.4**2 * np.eye(len(same))
        exact += stats.multivariate_normal(np.full(len(same), 4.0), covariance).logpdf(subject.y)
    assert mf.log_likelihood(model, population, mf.FO()) == pytest.approx(exact, abs=1e-9)
    fit = mf.fit(model, population, mf.FO(), progress=False)
    assert fit.converged
    true = Occasions(level=5.0, between=1.0, within=0.7, sigma=0.3)
    assert (np.abs(distance(fit, true)) < 3).all(), fit.table


class Groups(mf.Model):
    """A level for each category."""

    level: Array = mf.real(names=("a", "b", "c"))
    omega: Array = mf.positive()
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(0.0, self.omega)

    def observations(self, eta, subject):
        return dist.Normal(self.level[subject.covariates["group"].astype(int)] + eta + 0 * subject.time, self.sigma)


def test_a_categorical_covariate_has_the_means_of_its_categories():
    rng = np.random.default_rng(5)
    group = np.arange(24) % 3
    y = np.array([1.0, 2.0, 4.0])[group][:, None] + rng.normal(size=(24, 1)) + 0.5 * rng.normal(size=(24, 4))
    frame = pd.DataFrame({"ID": np.repeat(range(24), 4), "TIME": np.tile(range(4), 24), "DV": y.ravel()})
    population = mf.Population.from_frame(frame.assign(group=np.repeat(group, 4)), covariates="group")
    fit = mf.fit(Groups(level=[0.0, 0.0, 0.0], omega=1.0, sigma=1.0), population, mf.FO(), progress=False)
    assert fit.converged
    np.testing.assert_allclose(fit.model.level, [y[group == g].mean() for g in range(3)], atol=1e-5)
    assert list(fit.table.index[:3]) == ["level[a]", "level[b]", "level[c]"]


def test_a_covariate_that_changes_in_time_within_an_ode():
    """Clearance follows a weight; between two rows it is that of the earlier one.

    The right-hand side jumps where a step ends, which costs the solver a digit or two.
    """
    times, wt, v, per_kg = np.array([0.0, 1.0, 3.0, 3.5, 7.0, 7.0]), np.array([3.0, 4.0, 5.0, 2.0, 6.0, 6.0]), 2.0, 0.1
    doses = mf.Doses.of([10.0, 5.0], time=[0.0, 3.0])
    subject = mf.Subject(times, np.zeros(6), np.ones(6), {"wt": wt}, doses)

    @jax.jit
    def by_ode(per_kg):
        def rhs(t, y):
            now = subject.covariates["wt"][jnp.searchsorted(subject.time, t, side="right") - 1]
            return [-per_kg * now / v * y[0]]

        return dynamics.solve(rhs, [0.0], subject)[:, 0] / v

    passed = np.cumsum(np.append(0.0, wt[:-1] * np.diff(times)))  # what clearance has done to each dose, but for per_kg
    given = [(10.0, passed), (5.0, np.where(times >= 3.0, passed - passed[2], np.inf))]
    exact = sum(dose / v * np.exp(-per_kg * gone / v) for dose, gone in given)
    np.testing.assert_allclose(by_ode(per_kg), exact, rtol=1e-6)
    gone = [np.where(np.isfinite(gone), gone, 0.0) / v for _, gone in given]
    slope = -sum(g * dose / v * np.exp(-per_kg * g) for g, (dose, _) in zip(gone, given, strict=True))
    np.testing.assert_allclose(jax.jacfwd(by_ode)(per_kg), slope, rtol=1e-5, atol=1e-7)


# ---------------------------------------------------------------- other kinds of outcome


class Answer(mf.Model):
    """A concentration, and whether there was pain, less often where it is high."""

    cl: Array = mf.positive()
    v: Array = mf.positive()
    base: Array = mf.real()
    slope: Array = mf.real()
    omega: Array = mf.positive()
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(0.0, self.omega)

    def observations(self, eta, subject):
        c = mf.pk.iv_bolus_one_compartment(subject, cl=self.cl * jnp.exp(eta), v=self.v)
        pain = dist.Bernoulli(logits=self.base - self.slope * c)
        return {"pk": dist.LogNormal(jnp.log(c), self.sigma), "pain": pain}


@pytest.mark.slow
def test_a_continuous_and_a_binary_outcome_are_recovered(key):
    true = Answer(cl=1.0, v=5.0, base=2.0, slope=1.0, omega=0.3, sigma=0.2)
    design = blank(np.arange(0.5, 12.1, 0.5), mf.regimen(20.0), 80, ("pk", "pain"))
    start = Answer(cl=2.0, v=3.0, base=0.0, slope=0.0, omega=0.5, sigma=0.5)
    fit = mf.fit(start, mf.simulate(true, design, key), mf.Laplace(), progress=False)
    assert fit.converged
    assert (np.abs(distance(fit, true)) < 3).all(), distance(fit, true)


class Hazard(mf.Model):
    """Concentrations after a bolus, and one event, whose hazard is base + slope C: all as states of one ODE."""

    cl: Array = mf.positive()
    v: Array = mf.positive()
    base: Array = mf.positive()
    slope: Array = mf.positive()
    omega: Array = mf.positive()
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(0.0, self.omega)

    def states(self, cl, subject):
        def rhs(t, y):
            return [-cl / self.v * y[0], self.base + self.slope * y[0] / self.v]

        return dynamics.solve(rhs, [0.0, 0.0], subject, solver=dynamics.RK4(12))

    def observations(self, eta, subject):
        y = self.states(self.cl * jnp.exp(eta), subject)
        c = y[:, 0] / self.v
        return {"pk": dist.Normal(c, self.sigma), "event": mf.Event(jnp.log(self.base + self.slope * c), y[:, 1])}


class ClosedHazard(Hazard):
    def states(self, cl, subject):
        c = mf.pk.iv_bolus_one_compartment(subject, cl=cl, v=self.v)
        cumulative = self.base * subject.time + self.slope * (subject.doses.amount.sum() - c * self.v) / cl
        return jnp.stack([c * self.v, cumulative], axis=1)


HAZARD = dict(cl=1.0, v=5.0, base=0.05, slope=0.1, omega=0.3, sigma=0.1)


@pytest.fixture(scope="module")
def events():
    """Twelve subjects with concentrations, and the time of an event, or the end at 10 h without one."""
    rng, people, grid = np.random.default_rng(6), [], np.linspace(0, 10, 2001)
    for _ in range(12):
        cl = np.exp(0.3 * rng.normal())
        hazard = 0.05 * grid + 0.1 * 10 * (1 - np.exp(-cl / 5 * grid)) / cl
        when = np.interp(rng.exponential(), hazard, grid, right=np.inf)
        times = np.array([0.5, 2.0, 4.0, min(when, 10.0)])
        order, last = np.argsort(times), np.sort(times) == times[3]
        y = {"pk": (2 * np.exp(-cl / 5 * times) + 0.1 * rng.normal(size=4))[order], "event": last * (when < 10.0)}
        people.append(mf.Subject(times[order], y, {"pk": ~last, "event": last}, {}, mf.regimen(10.0)))
    return mf.Population.from_subjects(people)


def test_an_event_with_a_hazard_from_the_concentration(events):
    """log p = y log h - H by hand, with the hazard's integral as a state; at a constant hazard, an exponential."""
    log_p, cl = jax.jit(mf.log_conditional), np.exp(0.2)
    for subject in (events[0], events[1], events[2]):
        t, y = np.asarray(subject.time), {k: np.asarray(x) for k, x in subject.y.items()}
        event, seen = np.asarray(subject.mask["event"]), np.asarray(subject.mask["pk"])
        c = 2 * np.exp(-cl / 5 * t)
        measured = stats.norm(c, 0.1).logpdf(y["pk"])[seen].sum()
        hazard, cumulative = 0.05 + 0.1 * c, 0.05 * t + 0.1 * 10 * (1 - np.exp(-cl / 5 * t)) / cl
        exact = measured + (y["event"] * np.log(hazard) - cumulative)[event].sum()
        assert log_p(Hazard(**HAZARD), jnp.array([0.2]), subject) == pytest.approx(exact, abs=1e-6)
        constant, exponential = (
            log_p(Hazard(**HAZARD | {"slope": 1e-12}), jnp.array([0.2]), subject),
            stats.expon(0, 20),
        )
        end = exponential.logpdf(t[event]) if y["event"][event] else exponential.logsf(t[event])
        assert constant == pytest.approx(measured + end.item(), abs=1e-6)
    assert {int(y) for s in events for y in s.y["event"][s.mask["event"]]} == {0, 1}


@pytest.mark.slow
def test_quadrature_through_an_ode(events):
    by_subject = [mf.log_likelihood(m(**HAZARD), events, mf.AGQ(5), by_subject=True) for m in (Hazard, ClosedHazard)]
    np.testing.assert_allclose(*by_subject, atol=1e-6)


@pytest.mark.slow
def test_saem_through_an_ode(events):
    """From the same key it takes the same steps as with the closed form."""
    method, held = (
        mf.SAEM(chains=2, exploration=60, smoothing=60, likelihood_by=mf.AGQ(5)),
        {"fixed": ("slope", "base")},
    )
    fits = [
        mf.fit(m(**HAZARD | {"cl": 1.5, "v": 4.0}), events, method, key=jax.random.key(1), progress=False, **held)
        for m in (Hazard, ClosedHazard)
    ]
    for name in ("cl", "v", "omega", "sigma"):
        one, other = (float(getattr(fit.model, name)) for fit in fits)
        assert one == pytest.approx(other, rel=1e-3), name
    assert fits[0].log_likelihood == pytest.approx(fits[1].log_likelihood, abs=1e-3)
    assert float(fits[0].model.cl) == pytest.approx(1.0, rel=0.3) and float(fits[0].model.sigma) < 0.2


class Bolus(mf.Model):
    """Log concentrations after a bolus."""

    cl: Array = mf.positive()
    v: Array = mf.positive()
    omega: Array = mf.positive()
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(0.0, self.omega)

    def observations(self, eta, subject):
        c = mf.pk.iv_bolus_one_compartment(subject, cl=self.cl * jnp.exp(eta), v=self.v)
        return dist.Normal(jnp.log(c), self.sigma)


@pytest.mark.slow
def test_censored_data_by_likelihood_are_less_biased_than_dropped(key):
    """Below the limit are late samples, and of these the low ones: left out, the clearance looks slow."""
    true = Bolus(cl=1.0, v=5.0, omega=0.4, sigma=0.5)
    whole = mf.simulate(true, blank([0.5, 1.0, 4.0, 8.0, 12.0], mf.regimen(10.0), 120), key)
    frame, limit = whole.to_frame(), np.log(0.4)
    below = (frame.EVID == 0) & (frame.DV < limit)
    assert 0.25 < below.sum() / 600 < 0.5
    censored = frame.assign(DV=frame.DV.where(~below, limit), CENS=below.astype(int))
    data = {"all": frame, "censored": censored, "dropped": frame.assign(DV=frame.DV.where(~below))}
    fits = {}
    for name, rows in data.items():
        fits[name] = mf.fit(true, mf.Population.from_frame(rows), mf.Laplace(), progress=False)
        assert fits[name].converged, name
    found = pd.DataFrame(
        {name: {k: float(getattr(fit.model, k)) for k in ("cl", "v", "omega", "sigma")} for name, fit in fits.items()}
    )
    np.testing.assert_allclose(found["censored"], found["all"], rtol=0.05)
    assert found["censored"]["cl"] == pytest.approx(1.0, rel=0.15)
    assert found["dropped"]["cl"] < 0.7 and found["dropped"]["omega"] < 0.2, found

"""Units change nothing but the constants: the same data in other units, for every method.

Responses, times, doses and covariates are multiplied by factors from 1e-6 to 1e7. The estimates must follow by the
factors that their units say, -2LL by the constant of the density's change of variable, and the number of iterations,
the ending and what is said of each parameter must not change at all.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from models import Additive, Decay, Line

import mefit as mf
from mefit.model.numbers import entries

N = 12


def decaying_people():
    rng = np.random.default_rng(11)
    rows = []
    for i in range(N):
        wt = 60.0 + 12.0 * rng.standard_normal()
        level = 20.0 + 0.5 * wt + 6.0 * rng.standard_normal()
        rate = 0.4 * np.exp(0.3 * rng.standard_normal())
        for t in (0.0, 0.5, 1.0, 2.0, 4.0, 8.0):
            rows.append((i + 1, t, level * np.exp(-rate * t) + 1.5 * rng.standard_normal(), wt))
    frame = pd.DataFrame(rows, columns=["ID", "TIME", "DV", "WT"])
    return mf.Population.from_frame(frame, covariates={"wt": "WT"})


@dataclasses.dataclass(frozen=True)
class Factors:
    """What the numbers of the data are multiplied by."""

    y: float = 1.0
    time: float = 1.0
    dose: float = 1.0
    wt: float = 1.0

    def of(self, population):
        """The population in other units."""
        s = population.subjects
        doses = dataclasses.replace(
            s.doses,
            time=s.doses.time * self.time,
            amount=s.doses.amount * self.dose,
            duration=s.doses.duration * self.time,
        )
        covariates = {name: x * self.wt for name, x in s.covariates.items()}
        other = dataclasses.replace(s, time=s.time * self.time, y=s.y * self.y, doses=doses, covariates=covariates)
        return dataclasses.replace(population, subjects=other)


def line_units(f):
    sd = np.array([f.y, f.y / f.time])
    return {"beta": sd, "omega": np.outer(sd, sd), "sigma": f.y}, sd


def theophylline_units(f):
    parameters = {"ka": 1 / f.time, "cl": f.dose / f.y / f.time, "v": f.dose / f.y, "omega": 1.0, "sigma": f.y}
    return parameters, np.ones(3)


def decay_units(f):
    sd = np.array([f.y, 1.0])
    parameters = {"base": f.y, "slope": f.y / f.wt, "rate": 1 / f.time, "omega": np.outer(sd, sd), "sigma": f.y}
    return parameters, sd


CASES = {
    "line": (
        lambda: Line(beta=jnp.array([245.0, 9.0]), omega=jnp.array([[400.0, 20.0], [20.0, 30.0]]), sigma=14.0),
        mf.datasets.sleepstudy,
        line_units,
    ),
    "theophylline": (
        lambda: Additive(ka=1.5, cl=3.0, v=30.0, omega=jnp.diag(jnp.array([0.4, 0.1, 0.05])), sigma=0.7),
        lambda: mf.datasets.theophylline(per_kg=False),
        theophylline_units,
    ),
    "decay": (
        lambda: Decay(base=10.0, slope=0.3, rate=0.3, omega=jnp.diag(jnp.array([40.0, 0.1])), sigma=2.0),
        decaying_people,
        decay_units,
    ),
}
METHODS = {
    "naive pooled": mf.NaivePooled(),
    "two-stage": mf.TwoStage(),
    "joint MLE": mf.JointMLE(),
    "joint MAP": mf.JointMAP(),
    "joint MAP in z": mf.JointMAP(centred=False),
    "FO": mf.FO(),
    "FOCE": mf.FOCE(),
    "FOCE without interaction": mf.FOCE(interaction=False),
    "Laplace": mf.Laplace(),
    "AGQ": mf.AGQ(4),
    "variational": mf.Variational(4),
    "importance sampling": mf.ImportanceSampling(50),
    "SAEM": mf.SAEM(exploration=100, smoothing=100, likelihood_by=mf.FOCE()),
    "Adam": mf.Adam(mf.FOCE(), steps=60),
}
LARGE = Factors(y=1e7, time=1e-6, dose=1e3, wt=1e5)
SMALL = Factors(y=1e-6, time=1e5, dose=1e-6, wt=1e-6)


def in_units(model, factors):
    """The model with each parameter multiplied by the factor of its unit."""
    values = {name: getattr(model, name) * factor for name, factor in factors.items()}
    return dataclasses.replace(model, **values)


def constant(name, fit, f, sd):
    """What changes the log of a density in other units: log f.y for each response, log sd for each eta."""
    size = -fit.population.n_observations * np.log(f.y)
    if name == "joint MAP":  # its objective holds the density of every eta
        size -= len(fit.population) * np.sum(np.log(sd))
    return size


@pytest.fixture(scope="module")
def base():
    """base(case, method): the fit in the data's own units, made once."""
    known = {}

    def fit(case, name):
        if (case, name) not in known:
            start, people, _ = CASES[case]
            key = jax.random.key(1)
            known[case, name] = mf.fit(start(), people(), METHODS[name], key=key, progress=False)
        return known[case, name]

    return fit


# "decay" shows every method in other units of responses, times and covariates, its random effects with them. Units of
# doses and of vectors reach all methods by the same way, the scales of coordinates: the dearest show them if asked.
ONCE = ("FOCE without interaction", "AGQ", "variational", "importance sampling", "Adam")


def cases_and_methods():
    for case in CASES:
        for name in METHODS:
            # Joint MAP in z has no maximum: on a slope without end, where it stops and what it says of that is
            # rounding's choice.
            if name == "joint MAP in z" and case != "line":
                continue
            again = (case == "line" and name != "joint MAP in z") or (name in ONCE and case != "decay")
            yield pytest.param(case, name, marks=pytest.mark.slow if again else (), id=f"{case}-{name}")


@pytest.mark.parametrize("case, name", cases_and_methods())
def test_units_change_nothing_but_the_constants(case, name, base):
    start, people, units = CASES[case]
    fit = base(case, name)
    for f in (LARGE, SMALL):
        factors, sd = units(f)
        other = mf.fit(in_units(start(), factors), f.of(people()), METHODS[name], key=jax.random.key(1), progress=False)
        assert other.ending is fit.ending and other.status == fit.status, f
        assert other.history[-1].iteration <= 1.1 * fit.history[-1].iteration + 2, f
        if fit.ending is not mf.Ending.UNBOUNDED:
            assert other.log_likelihood - constant(name, fit, f, sd) == pytest.approx(fit.log_likelihood, abs=1e-5), f
        expected = in_units(fit.model, factors)
        close = 1e-4 if fit.converged else 1e-2
        if fit.ending is mf.Ending.UNBOUNDED:  # where it stops, on a slope without end, is nowhere in particular
            continue
        if fit.ending is mf.Ending.NOT_IDENTIFIED:  # nor is what others can take the place of
            continue
        for entry in entries(fit.model):
            value = float(entry.value(other.model))
            near = 1e-6 if entry.kind == "correlation" else 0.0
            assert value == pytest.approx(float(entry.value(expected)), rel=close, abs=near), entry.label
        np.testing.assert_allclose(other.eta / sd, fit.eta, rtol=1e-3, atol=1e-4 * np.std(fit.eta))
        if fit.method.likelihood and fit.converged:
            np.testing.assert_allclose(other.table.rse, fit.table.rse, rtol=1e-3)


def test_a_sampler_walks_the_same_in_every_unit():
    """NUTS, from the same key: the same draws but for rounding, which grows along a trajectory."""
    start, people, units = CASES["decay"]
    method = mf.NUTS(warmup=100, samples=100, chains=1)
    key = jax.random.key(2)
    held = ("omega", "rate")  # without a prior their posterior is improper
    fit = mf.fit(start(), people(), method, key=key, fixed=held, progress=False)
    f = Factors(y=1e5, time=1e-3, wt=1e4)
    factors, _ = units(f)
    other = mf.fit(in_units(start(), factors), f.of(people()), method, key=key, fixed=held, progress=False)
    for name in ("base", "slope", "sigma"):
        draws = fit.draws.frame[name] * factors[name]
        apart = abs(other.draws.frame[name].mean() - draws.mean()) / draws.std()
        assert apart < 4 * np.sqrt(2 / 50), name  # with 50 effective draws or more in each


@pytest.mark.parametrize("name", ["sigma", "omega"])
@pytest.mark.parametrize("factor", [1e-3, 1e3])
@pytest.mark.parametrize("case", ["decay", "theophylline"])
def test_a_scale_a_thousandfold_off_arrives_or_says_that_it_did_not(case, factor, name, base):
    start, people, _ = CASES[case]
    best = base(case, "Laplace").log_likelihood
    times = factor**2 if name == "omega" else factor
    far = dataclasses.replace(start(), **{name: getattr(start(), name) * times})
    fit = mf.fit(far, people(), mf.Laplace(), progress=False)
    assert "unbounded" not in fit.message
    if fit.ending is mf.Ending.CONVERGED:  # and not at a boundary, which is said, nor on the way
        assert fit.log_likelihood == pytest.approx(best, abs=1e-3)


def test_a_start_a_millionfold_off_is_not_taken_for_an_objective_without_a_maximum():
    start, people, _ = CASES["theophylline"]
    for sigma in (1e-6, 1e-7):
        fit = mf.fit(dataclasses.replace(start(), sigma=sigma), people(), mf.FOCE(), progress=False)
        assert "unbounded" not in fit.message and float(fit.model.sigma) > 0.1, fit.message


class Weighted(mf.Model):
    """A level that depends on a covariate and differs between subjects; both SDs known."""

    level: jax.Array = mf.real()
    slope: jax.Array = mf.real()
    omega: jax.Array = mf.positive()
    sigma: jax.Array = mf.positive()

    def random_effects(self):
        return dist.Normal(jnp.zeros(1), self.omega)

    def observations(self, eta, subject):
        level = self.level + self.slope * subject.covariates["wt"] + eta[0]
        return dist.Normal(level + 0.0 * subject.time, self.sigma)


@pytest.mark.parametrize("start", [0.0, 0.1])
def test_an_estimate_of_zero_has_its_standard_error(start):
    """Var slope = (omega^2 + sigma^2 / n) / sum (w - mean w)^2; the data are the same at both weights."""
    rows = []
    for i in range(12):
        for t in range(4):
            rows.append((i + 1, float(t), 5.0 + (i // 2 - 2.5) + 0.3 * (-1) ** t, 1.0 - 2.0 * (i % 2)))
    frame = pd.DataFrame(rows, columns=["ID", "TIME", "DV", "WT"])
    population = mf.Population.from_frame(frame, covariates={"wt": "WT"})
    model = Weighted(level=3.0, slope=start, omega=1.5, sigma=0.5)
    fit = mf.fit(model, population, mf.FO(), fixed=("omega", "sigma"), progress=False)
    assert fit.converged and abs(float(fit.model.slope)) < 1e-5
    assert fit.table.se["slope"] == pytest.approx(np.sqrt((1.5**2 + 0.5**2 / 4) / 12), rel=1e-5)
    assert fit.table.se["level"] == pytest.approx(np.sqrt((1.5**2 + 0.5**2 / 4) / 12), rel=1e-5)

"""Templates, networks and mechanisms on profiles that templates miss: who fits, and who is right about other doses.

Models of log-concentrations, whose curves come from a template, a learned response to a unit dose, or both; the ways to
fit them; and a table that judges all on people held out, at their own doses and at doses that nobody got.
"""

import re
import time as clock
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
from jaxtyping import Array, Float

import mefit as mf

from .hard_profiles import (
    BACKGROUND,
    BINDING,
    FIRST,
    LAST,
    RECIRCULATION,
    LogCurve,
    Mechanism,
    Study,
    curves,
    simulate,
    truth,
)

LOW, HIGH = 15.0, 600.0  # mg: 0.3 times the lowest dose that was given, and 3 times the highest
GRID = np.linspace(FIRST, LAST, 80)
_REFERENCE = 100.0  # mg, where a dose is an input
_EFFECTS = 5


class Template(Mechanism):
    """One or two compartments by closed form: ka, CL, V, and Q, V2; of an injection without ka.

    As many of them as omega has rows differ between people, from the first on.
    """

    def concentration(self, eta, subject):
        shared = jnp.zeros(self.typical.size - eta.size)
        return template_curve(self.typical * jnp.exp(jnp.append(eta, shared)), subject)


def template_curve(values: Float[Array, " P"], subject: mf.Subject) -> Float[Array, " n"]:
    """Two numbers are CL, V; three ka, CL, V; four CL, V1, Q, V2; five ka, CL, V1, Q, V2."""
    if values.size == 2:
        return mf.pk.iv_bolus_one_compartment(subject, cl=values[0], v=values[1])
    if values.size == 3:
        return mf.pk.oral_one_compartment(subject, ka=values[0], cl=values[1], v=values[2])
    cl, v1, q, v2 = values[-4:]
    if values.size == 4:
        return mf.pk.infusion_two_compartment(subject, cl=cl, v1=v1, q=q, v2=v2)
    return mf.pk.oral_two_compartment(subject, ka=values[0], cl=cl, v1=v1, q=q, v2=v2)


class Decoder(LogCurve):
    """A learned response to a unit dose; or, with `dose_read`, any curve of time and of the logarithm of the dose."""

    response: mf.networks.UnitResponse = mf.weights(prior=mf.networks.L2(1.0))
    effects: int = eqx.field(static=True, kw_only=True)
    dose_read: bool = eqx.field(static=True, kw_only=True)

    def random_effects(self):
        return dist.Normal(jnp.zeros(self.effects), 1.0)

    def concentration(self, eta, subject):
        if not self.dose_read:
            return mf.pk.superposed(lambda s: self.response(s, eta), subject)
        dose = subject.doses.amount[0]
        inputs = jnp.append(eta, jnp.log(dose / _REFERENCE))
        return _REFERENCE * self.response(subject.time - subject.doses.time[0], inputs)


class Hybrid(LogCurve):
    """A one-compartment template times the exponential of a network of time, and with `dose_read` of the dose."""

    typical: Array = mf.positive()
    sds: Array = mf.positive()
    net: mf.networks.MLP = mf.weights(prior=mf.networks.L2(1.0))
    basis: mf.networks.Basis = eqx.field(kw_only=True)
    effects: int = eqx.field(static=True, kw_only=True)
    dose_read: bool = eqx.field(static=True, kw_only=True)

    def random_effects(self):
        return dist.Normal(jnp.zeros(self.effects), 1.0)

    def concentration(self, eta, subject):
        values = self.typical * jnp.exp(self.sds * eta[: self.typical.size])
        read = jnp.append(eta, jnp.log(subject.doses.amount[0] / _REFERENCE)) if self.dose_read else eta
        bent = jax.vmap(lambda row: self.net(read, row))(self.basis(subject.time))
        return template_curve(values, subject) * jnp.exp(bent)


class Equation(LogCurve):
    """Networks inside and behind a differential equation, of whatever doses. Of the amount A in the body, in doses of
    `dose`, as the networks see it, x = log(A + `least`),

        A' = -`fastest` k(eta, x) A,    C = A exp(g(eta, x)) / `volume`.

    The rate k is between 0 and 1, so that steps of a fixed number between two records do not run away. What is free of
    the amount, g says: binding is quicker than any record.
    """

    rate: mf.networks.MLP = mf.weights(prior=mf.networks.L2(1.0))
    free: mf.networks.MLP = mf.weights(prior=mf.networks.L2(1.0))
    volume: Array = mf.positive()
    effects: int = eqx.field(static=True, kw_only=True)
    fastest: float = eqx.field(static=True, kw_only=True)
    dose: float = eqx.field(static=True, kw_only=True)
    least: float = eqx.field(static=True, kw_only=True)

    def random_effects(self):
        return dist.Normal(jnp.zeros(self.effects), 1.0)

    def seen(self, amount: Float[Array, ""]) -> Float[Array, ""]:
        return jnp.log(jnp.maximum(amount, 0.0) / self.dose + self.least)

    def concentration(self, eta, subject):
        def rhs(t, state):
            amount = state[0]
            return [-self.fastest * self.rate(eta, self.seen(amount)) * amount]

        amounts = mf.dynamics.solve(rhs, [0.0], subject, solver=mf.dynamics.RK4(3))[:, 0]
        free = jax.vmap(lambda amount: self.free(eta, self.seen(amount)))(amounts)
        return jnp.maximum(amounts, 0.0) * jnp.exp(free) / self.volume


def basis_for(population: mf.Population) -> mf.networks.Basis:
    """Half-lives for what is early, and a spline for humps."""
    return mf.networks.LevellingOff.over(population) + mf.networks.NaturalSpline(8, 0.0, LAST)


def template(name: str, compartments: int) -> Template:
    """A template at its start. Q and V2 are the same for all: with effects of their own, of people of two inputs the
    search for a maximum failed."""
    typical: tuple[float, ...] = (1.0, 3.0, 30.0) if compartments == 1 else (1.0, 3.0, 25.0, 2.0, 20.0)
    typical = typical[1:] if name == BINDING else typical
    omega = 0.1 * jnp.eye(2 if name == BINDING else 3)
    return Template(typical=jnp.asarray(typical), omega=omega, sigma=jnp.asarray(0.4), background=_background(name))


def decoder(name: str, population: mf.Population, effects: int, dose_read: bool | None = None) -> Decoder:
    """A decoder at its start; the dose is read where kinetics are not linear, unless it is said otherwise."""
    read = (name == BINDING) if dose_read is None else dose_read
    response = mf.networks.UnitResponse.of(population, effects + read, basis_for(population), logarithms=True)
    start: dict[str, Any] = {"response": response, "sigma": jnp.asarray(0.4)}
    return Decoder(**start, effects=effects, dose_read=read, background=_background(name))


def hybrid(name: str, population: mf.Population, effects: int) -> Hybrid:
    """A template times a network at its start, where the network says next to nothing."""
    read = name == BINDING
    basis = basis_for(population)
    spread = [1.5] * effects + [1.0] * (basis.size + read)
    net = mf.networks.MLP(effects + read + basis.size, (32, 32), spread=spread)
    typical = template(name, 1).typical
    start: dict[str, Any] = {"typical": typical, "sds": jnp.full(typical.shape, 0.3), "sigma": jnp.asarray(0.4)}
    return Hybrid(**start, net=net, basis=basis, effects=effects, dose_read=read, background=_background(name))


def equation(effects: int = 4) -> Equation:
    """Networks in an equation of an injection, at their start: all is free, and a tenth of it is lost in an hour."""
    spread = [1.5] * effects + [1.5]
    rate = mf.networks.MLP(effects + 1, (16, 16), spread=spread, shift=-3.0, link=jax.nn.sigmoid)
    free = mf.networks.MLP(effects + 1, (16, 16), spread=spread, seed=1)
    start: dict[str, Any] = {"volume": jnp.asarray(5.0), "sigma": jnp.asarray(0.4), "background": BACKGROUND}
    return Equation(rate=rate, free=free, **start, effects=effects, fastest=2.0, dose=_REFERENCE, least=1e-3)


def mechanism(name: str) -> Mechanism:
    """The right mechanism, a third off in all it can estimate."""
    right = truth(name)
    off = 1.3 ** jnp.where(jnp.arange(right.typical.size) % 2 == 0, 1.0, -1.0)
    return eqx.tree_at(
        lambda model: (model.typical, model.omega, model.sigma),
        right,
        (right.typical * off, 0.15 * jnp.eye(len(right.omega)), jnp.asarray(0.3)),
    )


def _background(name: str) -> float:
    return BACKGROUND if name == BINDING else 0.0


def searched(steps: int = 1500) -> mf.Adam:
    """A network's weights by FOCE, each person's mode searched: a MeNet."""
    return mf.Adam(mf.FOCE(), steps=steps, batch=50, learning_rate=0.01)


def guessed(population: mf.Population, effects: int, draws: int = 1, steps: int = 3000) -> mf.Adam:
    """The same weights by an encoder that guesses; by the importance-weighted bound where there are several draws."""
    encoder = mf.networks.SetEncoder(population, effects, basis=basis_for(population), covariates=["dose"])
    objective = mf.Amortised(encoder, draws=draws, importance=draws > 1, samples=200)
    return mf.Adam(objective, steps=steps, batch=64, learning_rate=5e-3)


class Rival(NamedTuple):
    """A model at its start, and the method that fits it."""

    model: mf.Model
    method: Any


def rivals(
    name: str, population: mf.Population, effects: int = _EFFECTS, haste: float = 1.0
) -> dict[str, Callable[[], Rival]]:
    """All rivals of one truth, made when they are asked for; networks are trained by so many times fewer steps."""
    steps = round(3000 / haste)
    every = {
        "1-cpt": lambda: Rival(template(name, 1), mf.FOCE()),
        "2-cpt": lambda: Rival(template(name, 2), mf.FOCE()),
        "MeNet": lambda: Rival(decoder(name, population, 4), searched(steps // 2)),
        "autoencoder": lambda: Rival(decoder(name, population, effects), guessed(population, effects, steps=steps)),
        "autoencoder, 8 draws": lambda: Rival(
            decoder(name, population, effects), guessed(population, effects, 8, steps)
        ),
        "autoencoder that reads the dose": lambda: Rival(
            decoder(name, population, effects, dose_read=True), guessed(population, effects, steps=steps)
        ),
        "1-cpt x network": lambda: Rival(hybrid(name, population, effects), guessed(population, effects, steps=steps)),
        "right mechanism": lambda: Rival(mechanism(name), _by_mechanism(name)),
    }
    if name == BINDING:  # of an injection; a tablet would need a state of its own
        model = equation()
        every["network in an equation, 8 draws"] = lambda: Rival(model, guessed(population, model.effects, 8, steps))
    return every


def _by_mechanism(name: str) -> Any:
    """A late meal or an early one may explain the same record: no mode is the whole of that, and FOCE finds no way
    up."""
    return mf.SAEM(chains=10, smoothing=1500) if name == RECIRCULATION else mf.FOCE()


def log_likelihoods(fit: mf.Fit, new: Study, by_encoder: bool = False, key: Any = None) -> Float[np.ndarray, " N"]:
    """log L of each person held out: by importance sampling around their modes, one ruler for all, or `by_encoder`,
    where there is one, around its answer, which is quicker and of so many samples a person less sure. NaN for a person
    whose density the draws hardly meet, and of whom they say too little.
    """
    key = jax.random.key(11) if key is None else key
    # where a template is wrong a person may have several peaks, and the highest has to be found; where a network is
    # bent, its peaks are of no shape that a few hundred draws cover
    by = mf.ImportanceSampling(samples=4000, proposal=fit.encoder if by_encoder else None, newton=mf.Newton(looks=16))

    def of_person(i: int) -> float:
        """Alone, so that a refusal is of this person; drawn once, so that nobody has a second chance."""
        person = new.population[[i]]
        try:
            return float(mf.log_likelihood(fit.model, person, by, key=jax.random.fold_in(key, i)))
        except ValueError as why:
            if not re.search(r"\bfalls? short\b", str(why)):
                raise
            return np.nan

    return np.array([of_person(i) for i in range(len(new.population))])


def errors(
    name: str, fit: mf.Fit, new: Study, draws: int = 60, by_encoder: bool = False, key: Any = None
) -> dict[str, float]:
    """How far off a fitted model is for people held out, at their own and at other doses.

    The errors are root mean squares of the posterior mean of log C against the truth over `GRID`, and of log AUC over
    it. What is known of a person comes from their own samples, whatever dose is asked about: by draws as of
    `log_likelihoods`.
    """
    key = jax.random.key(11) if key is None else key
    proposal = fit.encoder if by_encoder else None
    people = mf.individual(fit.model, new.population, draws=draws, proposed=400, proposal=proposal, key=key)
    told = {"sigma": float(fit.model.sigma)}  # type: ignore[attr-defined]
    for label, dose in (("", None), (f" at {LOW:g} mg", LOW), (f" at {HIGH:g} mg", HIGH)):
        found = people.curves(GRID, None if dose is None else mf.regimen(dose))
        true = curves(name, new, GRID, dose)
        told[f"curve{label}"] = _rms(found.mean(axis=1) - true)
        told[f"AUC{label}"] = _rms(log_area(found).mean(axis=1) - log_area(true))
    return told


def log_area(log_curves: Float[np.ndarray, "*N m"]) -> Float[np.ndarray, "*N"]:
    """The logarithm of the area under curves on `GRID`."""
    return np.log(np.trapezoid(np.exp(log_curves), GRID, axis=-1))


def _rms(errors: np.ndarray) -> float:
    return float(np.sqrt(np.mean(errors**2)))


def contest(
    name: str,
    who: Sequence[str] | None = None,
    people: int = 200,
    seed: int = 0,
    haste: float = 1.0,
    by_encoder: bool = False,
) -> tuple[pd.DataFrame, dict[str, mf.Fit]]:
    """The table of one truth: a row a rival, fitted to `people` and judged on as many others; and the fits.

    "log L" is the mean over those of whom the draws of every rival say enough, "not judged" for how many a rival's own
    say too little. `haste` and `by_encoder` make it quicker, for a lesson, and rougher.
    """
    train = simulate(name, people, 2 * seed + 1)
    new = simulate(name, people, 2 * seed + 2)
    every = rivals(name, train.population, haste=haste)
    rows = {}
    fits = {}
    each = {}
    for rival in who or every:
        begin = clock.process_time()
        model, method = every[rival]()
        fits[rival] = mf.fit(model, train.population, method, key=jax.random.key(seed), progress=False)
        spent = clock.process_time() - begin
        each[rival] = log_likelihoods(fits[rival], new, by_encoder=by_encoder)
        rows[rival] = errors(name, fits[rival], new, by_encoder=by_encoder) | {"CPU s": spent}
    values = pd.DataFrame(each)
    table = pd.DataFrame(rows).T
    table.insert(0, "log L", values.dropna().mean())
    table.insert(1, "not judged", values.isna().sum())
    return table, fits

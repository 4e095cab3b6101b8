"""Closed-form concentrations of one and two compartments, for any number of doses.

The system is linear, so the concentration at time t is the sum over the doses given up to t
(superposition). Every function is for one subject: it runs under `jax.vmap`, compiles, and may be
differentiated forward, backward and again. Amount / volume sets the unit of the result: mg and L
give mg/L; a dose in mg/kg goes with volumes in L/kg and clearances in L/h/kg. Rates have the unit
1 / time.

Where a dose goes: in the oral models compartment 1 is the depot, 2 the central compartment and,
where there is one, 3 the peripheral one, so that tablets and injections may be mixed; in the others
1 is the central compartment and 2 the peripheral one. A dose into a compartment that a model does
not have is refused.

How it goes there: at once, or at a constant rate where the record has a duration or a rate, into
the depot too (a zero-order release before absorption). `mf.Doses` says what each kind
of record means, here and in `mf.dynamics.solve`.

Parameters of doses: `lag` and `bioavailability`, and for records that leave them to the model
(RATE -1, -2) `rate` and `duration`. Each is one number, or where it differs between doses
`subject.at_doses(values of rows)` or `mf.PerDose(values of doses)`. One number for lag or
bioavailability acts on doses into the depot, and on every dose where there is none.

Steady state: a dose marked so acts as if it had been given every `interval` for ever before, and
nothing given earlier counts from its recorded time on (or, where `steady_state` is 2, is added to).
With a lag, what the former doses leave is there from the recorded time.

Source: Gibaldi & Perrier, Pharmacokinetics (2nd edition, 1982), chapters 1 to 3.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from ..data.subject import Subject
from .dosing import PerDoseOrNumber, given_doses, number_per_dose, refused
from .superposition import Disposition, Places, central_amount, one_compartment, time_since, two_compartments

Real: TypeAlias = ArrayLike  # one number
Times: TypeAlias = ArrayLike | None

# Gauss-Legendre nodes and weights, carried from (-1, 1) to (0, 1)
_nodes, _weights = np.polynomial.legendre.leggauss(16)
_NODES = 0.5 * (_nodes + 1.0)
_WEIGHTS = 0.5 * _weights


def oral_one_compartment(
    subject: Subject,
    *,
    ka: Real,
    cl: Real,
    v: Real,
    lag: PerDoseOrNumber = 0.0,
    bioavailability: PerDoseOrNumber = 1.0,
    rate: PerDoseOrNumber | None = None,
    duration: PerDoseOrNumber | None = None,
    time: Times = None,
) -> Float[Array, "..."]:
    """Concentration after oral doses with first-order absorption:

        C(t) = sum over doses   F amount ka / v (exp(-ke s) - exp(-ka s)) / (ka - ke)

    with ke = cl / v, F the bioavailability and s = t - dose time - lag; doses still to come (s < 0)
    add nothing. Where ka = ke the quotient is its limit s exp(-ke s); value and derivatives are
    accurate there and near it, and for ka < ke. A dose counts from its own time on, when its
    concentration is 0. A dose with a duration T is released into the depot at the constant rate
    F amount / T, and absorbed from there. Doses into compartment 2 are injections or infusions into
    the central compartment.

        c = mf.pk.oral_one_compartment(subject, ka=1.5, cl=0.04, v=0.5)        # (n,)

    Args:
        subject: its `doses` are read, and its `time` unless `time` is given.
        ka, cl, v: scalars, positive: absorption rate (1/time), clearance (volume/time), volume.
        lag: the time from dose to the start of absorption, 0 or more.
        bioavailability: the part of the dose that is absorbed.
        rate, duration: of infusions that leave them to the model.
        time: times (m,) to evaluate at instead of `subject.time`, such as the grid of a plot.

    Returns:
        (n,), or the shape of `time`.

    Raises:
        ValueError: a parameter that is not a scalar, a dose into a compartment that there is not,
            or one that asks for a rate or duration which is not given. Where a compiled program
            cannot raise, the concentrations are NaN.
    """
    ka, cl, v = _scalars(ka=ka, cl=cl, v=v)
    dosing = _Dosing("mf.pk.oral_one_compartment", lag, bioavailability, rate, duration)
    return _amount(subject, time, one_compartment(cl / v), ka, dosing) / v


def iv_bolus_one_compartment(
    subject: Subject,
    *,
    cl: Real,
    v: Real,
    lag: PerDoseOrNumber = 0.0,
    bioavailability: PerDoseOrNumber = 1.0,
    rate: PerDoseOrNumber | None = None,
    duration: PerDoseOrNumber | None = None,
    time: Times = None,
) -> Float[Array, "..."]:
    """Concentration after doses given at once into the compartment:

        C(t) = sum over doses with s >= 0   F amount / v exp(-cl / v s)

    At the very time of a dose the concentration is the one just after it, amount / v higher than
    just before. A dose with a duration is an infusion, as in `infusion_one_compartment`. Arguments,
    result and errors as in `oral_one_compartment`.
    """
    cl, v = _scalars(cl=cl, v=v)
    dosing = _Dosing("mf.pk.iv_bolus_one_compartment", lag, bioavailability, rate, duration)
    return _amount(subject, time, one_compartment(cl / v), None, dosing) / v


def infusion_one_compartment(
    subject: Subject,
    *,
    cl: Real,
    v: Real,
    lag: PerDoseOrNumber = 0.0,
    bioavailability: PerDoseOrNumber = 1.0,
    rate: PerDoseOrNumber | None = None,
    duration: PerDoseOrNumber | None = None,
    time: Times = None,
) -> Float[Array, "..."]:
    """Concentration during and after infusions at constant rate over `subject.doses.duration` = T:

        C(t) = sum over doses   F amount / (T cl) (1 - exp(-ke u)) exp(-ke (s - u)),   u = min(s, T)

    with ke = cl / v and s = t - dose time - lag. A dose of duration 0 is a bolus, as in
    `iv_bolus_one_compartment`. Where the data give the rate, T is F amount / rate. Arguments,
    result and errors as in `oral_one_compartment`.
    """
    cl, v = _scalars(cl=cl, v=v)
    dosing = _Dosing("mf.pk.infusion_one_compartment", lag, bioavailability, rate, duration)
    return _amount(subject, time, one_compartment(cl / v), None, dosing) / v


def oral_two_compartment(
    subject: Subject,
    *,
    ka: Real,
    cl: Real,
    v1: Real,
    q: Real,
    v2: Real,
    lag: PerDoseOrNumber = 0.0,
    bioavailability: PerDoseOrNumber = 1.0,
    rate: PerDoseOrNumber | None = None,
    duration: PerDoseOrNumber | None = None,
    time: Times = None,
) -> Float[Array, "..."]:
    """Concentration after oral doses, with distribution from the central into a peripheral one:

        depot' = -ka depot
        A1'    = ka depot - (cl + q) / v1 A1 + q / v2 A2
        A2'    = q / v1 A1 - q / v2 A2

    and C = A1 / v1. The solution is that of one compartment for each of the two rates alpha > beta
    of distribution and elimination, weighted (alpha - k21) / (alpha - beta) and (k21 - beta) /
    (alpha - beta), k21 = q / v2; no two of ka, alpha and beta need differ. `q` is the clearance
    between the compartments (volume/time), positive, and `v2` the peripheral volume. Other
    arguments, result and errors as in `oral_one_compartment`.
    """
    ka, cl, v1, q, v2 = _scalars(ka=ka, cl=cl, v1=v1, q=q, v2=v2)
    dosing = _Dosing("mf.pk.oral_two_compartment", lag, bioavailability, rate, duration)
    return _amount(subject, time, two_compartments(cl, v1, q, v2), ka, dosing) / v1


def infusion_two_compartment(
    subject: Subject,
    *,
    cl: Real,
    v1: Real,
    q: Real,
    v2: Real,
    lag: PerDoseOrNumber = 0.0,
    bioavailability: PerDoseOrNumber = 1.0,
    rate: PerDoseOrNumber | None = None,
    duration: PerDoseOrNumber | None = None,
    time: Times = None,
) -> Float[Array, "..."]:
    """Concentration in the central compartment during and after infusions into it.

    The model is that of `oral_two_compartment`. A dose of duration 0 is a bolus.
    """
    cl, v1, q, v2 = _scalars(cl=cl, v1=v1, q=q, v2=v2)
    dosing = _Dosing("mf.pk.infusion_two_compartment", lag, bioavailability, rate, duration)
    return _amount(subject, time, two_compartments(cl, v1, q, v2), None, dosing) / v1


def superposed(
    response: Callable[[Float[Array, " k"]], Float[Array, " k"]],
    subject: Subject,
    *,
    lag: PerDoseOrNumber = 0.0,
    bioavailability: PerDoseOrNumber = 1.0,
    rate: PerDoseOrNumber | None = None,
    duration: PerDoseOrNumber | None = None,
    time: Times = None,
) -> Float[Array, "..."]:
    """Concentration after doses of a linear system with any response g to a unit dose, such as a learned one:

        C(t) = sum over doses   F amount g(s),                                s = t - dose time - lag >= 0,
        of an infusion          F amount / T integral_0^u g(s - w) dw,        u = min(s, T),

    the integral by 16 nodes of Gauss and Legendre, exact where g is a polynomial of degree 31 over the
    infusion. Before the first dose the concentration is 0, which has no logarithm: leave such rows
    out of a model of logarithms.

    Args:
        response: g, from times (k,) since a dose, 0 or later, to concentrations (k,).
        subject, lag, bioavailability, rate, duration, time: as of `oral_one_compartment`.

    Returns:
        (n,), or the shape of `time`.

    Raises:
        ValueError: for a dose at steady state, whose endless sum nothing says of a learned response; for one into
            another compartment than 1, since there is one response; and for rates or durations that are not given.
    """
    doses = subject.doses
    if doses.steady_state is not None:
        raise ValueError(
            "mf.pk.superposed: a dose at steady state stands for endlessly many, and a learned response does not say "
            "what they add up to: write enough doses before it out, by ADDL and II for instance."
        )
    name = "mf.pk.superposed"
    given = given_doses(
        doses,
        lag=number_per_dose("lag", lag, doses),
        share=number_per_dose("bioavailability", bioavailability, doses),
        rate=None if rate is None else number_per_dose("rate", rate, doses),
        duration=None if duration is None else number_per_dose("duration", duration, doses),
        function=name,
    )
    moment = subject.time if time is None else jnp.asarray(time, dtype=float)
    since, counts = time_since(moment[..., None], given)

    def unit(s: Array) -> Array:
        return jnp.reshape(response(jnp.ravel(s)), s.shape)

    left = given.amount * unit(since)
    if given.infusions is not None:
        passed = jnp.minimum(since, given.infusions.duration)
        mean = unit(since[..., None] - passed[..., None] * _NODES) @ _WEIGHTS
        left = jnp.where(given.infusions.duration > 0, given.infusions.rate * passed * mean, left)
    concentration = jnp.sum(jnp.where(counts, left, 0.0), axis=-1)
    return refused(doses.real & (doses.compartment != 1), _no_such_compartment(name, 1, 1), concentration)


class _Dosing(NamedTuple):
    """What a model says of its doses, and the function that it says it to."""

    function: str
    lag: PerDoseOrNumber
    bioavailability: PerDoseOrNumber
    rate: PerDoseOrNumber | None
    duration: PerDoseOrNumber | None


def _amount(subject: Subject, time: Times, disposition: Disposition, ka: Array | None, dosing: _Dosing) -> Array:
    """The amount in the central compartment: the sum over doses."""
    doses = subject.doses
    has_depot = ka is not None
    other_lag = jnp.zeros(()) if has_depot else None
    other_share = jnp.ones(()) if has_depot else None
    given = given_doses(
        doses,
        lag=number_per_dose("lag", dosing.lag, doses, other_lag),
        share=number_per_dose("bioavailability", dosing.bioavailability, doses, other_share),
        rate=None if dosing.rate is None else number_per_dose("rate", dosing.rate, doses),
        duration=None if dosing.duration is None else number_per_dose("duration", dosing.duration, doses),
        function=dosing.function,
    )
    central = 2 if has_depot else 1
    last = central if disposition.peripheral is None else central + 1
    places = Places(depot=doses.compartment < central, peripheral=doses.compartment > central)
    moment = subject.time if time is None else jnp.asarray(time, dtype=float)
    amount = central_amount(moment, given, places, disposition, ka)
    missing = doses.real & ((doses.compartment < 1) | (doses.compartment > last))
    return refused(missing, _no_such_compartment(dosing.function, central, last), amount)


def _no_such_compartment(function: str, central: int, last: int) -> str:
    names = ["the depot"] * (central - 1) + ["the central one"] + ["the peripheral one"] * (last - central)
    known = ", ".join(f"{number} {name}" for number, name in enumerate(names, 1))
    return (
        f"a dose goes into a compartment that {function} does not have: its compartments are {known}. "
        "Correct CMT, or choose the function or the differential equation that has it."
    )


def _scalars(**parameters: ArrayLike) -> list[Float[Array, ""]]:
    for name, value in parameters.items():
        if jnp.ndim(value):
            raise ValueError(
                f"Parameter {name} has shape {jnp.shape(value)}; a closed form needs one number for the "
                "whole curve, since superposition does not hold for parameters that change in time."
            )
    return [jnp.asarray(value, dtype=float) for value in parameters.values()]

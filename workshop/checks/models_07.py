"""The judges of exercises 07.4 to 07.6: statements, a network inside an equation, and the scales of a network."""

from typing import Any

import jax.numpy as jnp
import numpy as np

import mefit as mf
from workshop.checks.engine import StillOpen, Wrong
from workshop.studies import saturable

# ------------------------------------------------------------------------------------ 07.4: what is extrapolation

TRUE = {1, 2, 4, 7}
REASONS = {
    1: "Statement 1 is true: the lesson's table has an error for the dose that all were trained on. Compare the four.",
    2: "Statement 2 is true: look for a dose among what goes into that network.",
    3: "Statement 3 is false: that concentrations are proportional to doses is knowledge, and a neural ODE has none.",
    4: "Statement 4 is true: think of which concentrations patient A had on the way up and down.",
    5: "Statement 5 is false: bounded is not right. Beyond the data a network levels off because tanh does.",
    6: "Statement 6 is false: the training points are always fitted best by the weakest prior.",
    7: "Statement 7 is true: take the logarithm of that density.",
    8: "Statement 8 is false: look at the held-out points in section 2 of the lesson.",
}


def judge_statements(answer: Any) -> None:
    if not isinstance(answer, list | tuple | set | np.ndarray):
        raise Wrong("Give the numbers of four statements in a list: [1, 2, 3, 4].")
    given = list(np.ravel(answer)) if isinstance(answer, np.ndarray) else list(answer)
    if any(one is ... for one in given):
        raise StillOpen("" if all(one is ... for one in given) else "Name the other statements, too.")
    if any(isinstance(one, bool) or not isinstance(one, int | float | np.number) for one in given):
        raise Wrong("Give the statements' numbers, without quotes or further brackets: [1, 2, 3, 4].")
    if any(one not in range(1, 9) for one in given):
        raise Wrong("The statements are numbered from 1 to 8.")
    chosen = set(given)
    for one in sorted(chosen - TRUE):
        raise Wrong(REASONS[one], 2 if one in (3, 5) else 1)
    for one in sorted(TRUE - chosen):
        raise Wrong(f"One or more are missing. {REASONS[one]}", 3)


# ------------------------------------------------------------------------------------ 07.5: a gap filled

NEAR = {2.0: 0.2, 10.0: 1.0}  # root mean squared errors (mg/L) that a sensible answer stays below


def _rms(a: Any, b: Any) -> float:
    return float(np.sqrt(np.mean((np.asarray(a) - np.asarray(b)) ** 2)))


def judge_gap(answer: Any) -> None:
    """`answer` is [fit, curves]: a fit of patient A, and predictions (2, 21) under doses of 2 and 10."""
    if not isinstance(answer, list | tuple) or len(answer) != 2:
        raise Wrong("Give two things in a list: [fit, curves].")
    fit, curves = answer
    if fit is ...:
        raise StillOpen()
    if not isinstance(fit, mf.Fit):
        raise Wrong(f"fit is a {type(fit).__name__}, not what mf.fit returns.", 2)
    net = getattr(fit.model, "net", None)
    if not isinstance(net, mf.networks.MLP):
        raise Wrong("The model has no network: give it a field net: mf.networks.MLP = mf.weights(...).", 1)
    at_training = np.asarray(mf.predict(fit.model, saturable.patients([5.0])))[0]
    if not np.all(np.isfinite(at_training)):
        raise Wrong("Its prediction for patient A is not a number: did the fit run away?", 2)
    level = saturable.truth([5.0])[0]
    missed = _rms(at_training, level)
    if missed > 0.15:
        if _rms(at_training, saturable.without_elimination(5.0)) < 0.5:
            raise Wrong("The drug is not eliminated: the network has not learnt anything, or has the wrong sign.", 2)
        raise Wrong(
            "It is far from the measurements that it was trained on: give the network its scales, start it near zero, "
            "or try another seed.",
            3,
        )
    own = np.asarray(mf.predict(fit.model, saturable.patients(list(NEAR))))
    if _rms(own[0], own[1]) < 0.05:
        raise Wrong("It says the same under every dose: this is a network of time. Put it into the equation.", 1)
    for (dose, near), curve, truth in zip(NEAR.items(), own, saturable.truth(list(NEAR)), strict=True):
        missed = _rms(curve, truth)
        if not missed < near:
            where = "smaller" if dose < 5 else "larger"
            raise Wrong(
                f"Patient A is fitted, but the {where} dose is not predicted. Is absorption in the equations as it is "
                "known, and does the network see the concentration and nothing else?",
                1,
            )
    _judge_elimination(net)
    if curves is ...:
        raise StillOpen("fit right. Next is curves: replace its dots, run it and this cell.")
    curves = np.asarray(curves, float)
    if curves.shape != own.shape:
        raise Wrong(f"curves has shape {curves.shape}; two patients at 21 times are (2, 21).", 3)
    if not np.allclose(curves, own, atol=1e-6):
        raise Wrong("curves are not what this fit predicts for the two new patients: mf.predict(fit.model, new).", 3)


def _judge_elimination(net: Any) -> None:
    """Curves can be right with a network that is something else: minus the elimination, or a rate constant."""
    if len(net.centre) != 1:
        raise Wrong("The network sees more than the concentration, and elimination depends on nothing else.", 1)
    c = np.linspace(0.5, 3.0, 26)
    found, eliminated = np.asarray(net.along(c)), saturable.VMAX * c / (saturable.KM + c)
    if _rms(found, eliminated) < 0.2:
        return
    for other, reason in (
        (-eliminated, "The network is minus the elimination: it stands in the equation with the wrong sign."),
        (eliminated / c, "The network is multiplied by the concentration: asked for is the elimination itself."),
    ):
        if _rms(found, other) < 0.2:
            raise Wrong(f"The curves are right. {reason}", 1)
    raise Wrong("The curves are right, but the network is not the elimination: NN(C) alone is what leaves.", 1)


# ------------------------------------------------------------------------------------ 07.6: scales

WEIGHT, CLEARANCE = (70.0, 15.0), (80.0, 30.0)  # mean and SD of what goes in
HALF_LIFE, SHARE = 6.0, 0.5


def judge_scales(net: Any) -> None:
    if not isinstance(net, mf.networks.MLP):
        raise Wrong(f"net is a {type(net).__name__}; a network is asked for, mf.networks.MLP(...).", 1)
    if len(net.centre) != 2:
        raise Wrong("Two numbers go in, weight and creatinine clearance: MLP(2, ...).", 1)
    if len(net.shift) != 1:
        raise Wrong("One number comes out, the half-life.", 1)
    mean, sd = np.array([WEIGHT, CLEARANCE]).T
    for name, given, right in (("centre", net.centre, mean), ("spread", net.spread, sd)):
        near = 0.4 * sd if name == "centre" else 0.25 * sd
        if np.all(np.abs(np.array(given) - right) < near):
            continue
        if np.all(np.abs(np.array(given)[::-1] - right) < near):
            raise Wrong(f"{name} has its two numbers the wrong way round: weight comes first.", 1)
        told = "the means" if name == "centre" else "the SDs"
        raise Wrong(f"{name} should hold {told} of weight and of creatinine clearance.", 1)
    low = np.asarray(net.link(jnp.asarray(net.shift) - 50.0 * jnp.asarray(net.scale)))[0]
    if not np.isfinite(low) or low < 0:
        raise Wrong("Far from the data this half-life can be negative: give the network a link that cannot.", 2)
    if low == 0:
        raise Wrong(
            "Far from the data this half-life is exactly zero, and there no slope leads back: a link above 0.", 2
        )
    first, up = (float(np.asarray(net.link(jnp.asarray(net.shift) + k * jnp.asarray(net.scale)))[0]) for k in (0, 1))
    if not 0.8 * HALF_LIFE < first < 1.25 * HALF_LIFE:
        reason = "The first guess, link(shift), is not the typical half-life"
        if np.isclose(net.shift[0], HALF_LIFE, rtol=0.1):
            raise Wrong(f"{reason}: shift is what the link is taken of, so undo the link.", 3)
        raise Wrong(f"{reason}. It is {first:.2g} h.", 3)
    share = up / first - 1
    if not 0.3 < share < 0.8:
        size = "less" if share <= 0.3 else "more"
        multiplies = np.allclose(np.asarray(net.link(jnp.array([1.0, 2.0]))), np.exp([1.0, 2.0]))
        why = " With jnp.exp the scale is that of the logarithm." if multiplies else ""
        raise Wrong(f"One scale up the half-life changes by much {size} than people differ.{why}", 3)
    rng = np.random.default_rng(1)
    people = mean + sd * rng.normal(size=(50, 2))
    starts = np.array([float(net(p)) for p in people])
    if np.std(np.log(starts)) > 0.2:
        raise Wrong("Its first guesses differ too much from person to person: leave `last` as it is.", 3)

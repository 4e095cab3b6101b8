"""The checks of lesson 08: wrong answers as learners write them, with the reason each gets, and right ones."""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jaxtyping import Array
from planted import Table
from scipy.optimize import minimize_scalar

import mefit as mf
from workshop.checks import lesson_08, models_08
from workshop.checks.engine import Checker, StillOpen, Wrong
from workshop.checks.lesson_08 import EXERCISES
from workshop.studies import saturation

check = Checker(lambda lesson: EXERCISES, None)

# ------------------------------------------------------------------------------------ answers, as they are written


def count(inputs=lambda k: 1 + k, biases=True, output=1):
    def size(effects, hidden):
        below, total = inputs(effects), 0
        for width in hidden:
            total += below * width + (width if biases else 0)
            below = width
        return total + below + output

    return size


def left(centre=True, take=lambda v, k: v[k:], per=lambda c: c.shape[1], end=lambda v, s: math.sqrt(v + s**2)):
    def left_over(curves, kept, sigma):
        c = curves - curves.mean(axis=0) if centre else curves
        values = np.linalg.svd(c, compute_uv=False) ** 2 / (len(c) - 1)
        return end(take(values, kept).sum() / per(curves), sigma)

    return left_over


def turn(matrix=lambda r: np.linalg.inv(r), time=False):
    def turned(weights, rotation):
        out = np.array(weights)
        if time:
            out[:, :2] = weights[:, :2] @ matrix(rotation)
        else:
            out[:, 1:] = weights[:, 1:] @ matrix(rotation)
        return out

    return turned


def bayes(density=lambda d, s: np.exp(-(d**2) / (2 * s**2)).prod(1), prior=True, norm=True):
    def posterior(curves, p, y, sigma):
        w = density(curves - y, sigma) * (p if prior else 1.0)
        return w / w.sum() if norm else w

    return posterior


def scale(power=0.25, factor=2.0, mean=False, second=lambda root, w: root / w):
    def joint_scale(products, strength):
        s = np.mean(products**2) if mean else np.sum(products**2)
        w = (s / (factor * strength)) ** power
        return [w, second(np.sqrt(np.mean(products**2)), w)]

    return joint_scale


PLANTED = [
    ("08.1", count(biases=False, output=0), "biases are missing", 2),
    ("08.1", count(output=0), "The output is a unit too", 2),
    ("08.1", count(inputs=lambda k: k), "Time is an input as well", 1),
    ("08.1", lambda k, h: count()(k, h) + k, "inputs, not parameters", 1),
    ("08.1", lambda k, h: count()(k, h) + 1, "sigma is a parameter", 1),
    ("08.1", lambda k, h: 1 + k + sum(h) + 1, "These are the units", 2),
    ("08.1", 73, "A function is asked for", None),
    ("08.1", lambda k, h: sum(h) + 1, "biases alone", 2),
    ("08.1", lambda k, h: count(biases=False)(k, h) + len(h), "One bias a layer", 2),
    ("08.1", lambda k, h: count()(k, h) + 1 + k, "Inputs have no biases", 2),
    ("08.1", lambda k, h: count()(k, h[:2]), "first two hidden layers", 2),
    ("08.1", lambda k, h: (1 + k) * h[0] + h[0] + h[-1] + 1, "is the most", 2),
    ("08.1", lambda k, h: count()(k, h) - h[-1] - 1, "The last step is missing", 2),
    ("08.1", lambda k, h: (1 + k) * math.prod(h), "From pair to pair they add up", 2),
    ("08.2", left(centre=False), "mean curve was not taken off", 1),
    ("08.2", left(end=lambda v, s: math.sqrt(v)), "The noise is missing", 3),
    ("08.2", left(end=lambda v, s: math.sqrt(v) + s), "Variances add up", 3),
    ("08.2", left(end=lambda v, s: v + s**2), "This is a variance", 3),
    ("08.2", left(per=lambda c: 1), "sum over all times", 2),
    ("08.2", left(per=lambda c: len(c)), "number of people", 2),
    ("08.2", left(take=lambda v, k: v[:k]), "the directions that are described", 2),
    ("08.2", left(take=lambda v, k: v[::-1][k:]), "from small to large", 2),
    ("08.2", left(take=lambda v, k: v[k + 1 :]), "counts from 0", 2),
    ("08.2", left(take=lambda v, k: v[k : k + 1]), "next direction alone", 2),
    ("08.2", left(take=lambda v, k: v[-k:]), "smallest eigenvalues", 2),
    ("08.2", lambda c, k, s: math.sqrt(np.linalg.eigvalsh(np.cov(c.T))[:-k].mean() + s**2), "mean over the dir", 2),
    ("08.2", lambda c, k, s: math.sqrt((v := np.linalg.eigvalsh(np.cov(c.T)))[:-k].sum() / v.sum() + s**2), "share", 2),
    ("08.2", lambda c, k, s: left(end=lambda v, s: math.sqrt(v + s**2 / c.shape[1]))(c, k, s), "noise was divided", 3),
    ("08.2", left(end=lambda v, s: math.sqrt(v + s)), "its square is what adds up", 3),
    *(
        (
            "08.2",
            lambda c, k, s, axis=axis: math.sqrt(np.linalg.eigvalsh(np.cov(c))[:-k].sum() / c.shape[axis] + s**2),
            "transpose the curves",
            1,
        )
        for axis in (0, 1)
    ),
    ("08.4", turn(matrix=lambda r: r), "turns the weights along", 2),
    ("08.4", lambda w, r: w, "Nothing has changed", 1),
    ("08.4", turn(time=True), "Time was turned", 1),
    ("08.4", lambda w, r: w[:, 1:] @ r.T, "returns", 1),
    ("08.4", lambda w, r: np.column_stack([w[:, 1:] @ r.T, w[:, 0]]), "wrong order", 3),
    ("08.4", lambda w, r: turn()(w * np.array([0, 1, 1]), r), "Time's weights are gone", 1),
    ("08.5", bayes(prior=False), "The prior is missing", 1),
    ("08.5", bayes(density=lambda d, s: np.exp(-0.5 * np.sum((d / s) ** 2))), "This is the prior again", 2),
    ("08.5", lambda c, p, y, s: p * bayes(prior=False)(c, p, y, s), "The likelihood alone was made", 3),
    ("08.5", bayes(density=lambda d, s: np.exp(0.5 * ((d / s) ** 2).sum(1))), "sign in the exponent", 2),
    ("08.5", bayes(density=lambda d, s: np.exp(-((d / (2 * s)) ** 2).sum(1))), "squared with sigma", 2),
    ("08.5", bayes(density=lambda d, s: np.exp(-(d**2 / 2 * s**2).sum(1))), "needs brackets", 2),
    ("08.5", bayes(density=lambda d, s: np.exp(-(abs(d) / s).sum(1) / 2)), "not squared", 2),
    ("08.5", bayes(density=lambda d, s: np.exp(-0.5 * (d / s) ** 2).sum(1)), "were added up", 1),
    ("08.5", bayes(density=lambda d, s: -0.5 * ((d / s) ** 2).sum(1)), "exponential first", 3),
    ("08.5", lambda *given: (w := bayes(norm=False)(*given)) / w.max(), "largest weight", 3),
    ("08.5", bayes(norm=False), "do not add up to one", 3),
    ("08.5", bayes(density=lambda d, s: np.exp(-(d**2) / s**2).prod(1)), "The half", 2),
    ("08.5", bayes(density=lambda d, s: np.exp(-(d**2) / (2 * s)).prod(1)), "sigma squared", 2),
    ("08.5", bayes(density=lambda d, s: np.exp(-(d**2) / 2).prod(1)), "sigma does not appear", 2),
    ("08.5", bayes(density=lambda d, s: np.exp(-((d / s) ** 2).mean(1) / 2)), "mean over the observations", 2),
    ("08.5", bayes(density=lambda d, s: np.exp(-(d[:, 0] ** 2) / (2 * s**2))), "Only the first", 2),
    ("08.6", scale(power=0.5), "*fourth*", 2),
    ("08.6", scale(factor=1.0), "A factor of two is lost", 2),
    ("08.6", scale(factor=4.0), "a factor of two too many", 2),
    ("08.6", scale(mean=True), "taken for a mean", 1),
    ("08.6", scale(second=lambda root, w: root * w), "*divided* by w", 3),
    ("08.6", scale(second=lambda root, w: root), "SD of the products", 3),
    ("08.6", scale(second=lambda root, w: (root / w) ** 2), "is a variance", 3),
    ("08.6", lambda p, s: scale()(p, s)[::-1], "changed places", 3),
    ("08.6", lambda p, s: [scale()(p, s)[0], np.std(p) / scale()(p, s)[0]], "The mean was taken off", 3),
    ("08.6", lambda p, s: [scale()(p, s)[0], np.std(p, ddof=1) / scale()(p, s)[0]], "The mean was taken off", 3),
    ("08.6", lambda p, s: [scale()(p, s)[0], (p @ p) ** 0.5 / scale()(p, s)[0]], "root of the sum of squares", 3),
    ("08.6", scale(power=1 / 3), "by w cubed", 2),
    ("08.6", lambda p, s: scale()(p, 1.0), "The strength is left out", 2),
    (
        "08.6",
        lambda p, s: [(w := (p.sum() ** 2 / (2 * s)) ** 0.25), np.sqrt(np.mean(p**2)) / w],
        "added up and then squared",
        1,
    ),
]
RIGHT = [
    ("08.1", count()),
    ("08.1", lambda k, h: mf.networks.MLP(1 + k, h).size),
    ("08.2", left()),
    ("08.2", lambda c, k, s: np.sqrt(np.linalg.eigvalsh(np.cov(c.T))[: c.shape[1] - k].sum() / c.shape[1] + s * s)),
    ("08.4", turn()),
    ("08.4", lambda w, r: jnp.concatenate([w[:, :1], w[:, 1:] @ r.T], axis=1)),
    ("08.5", bayes()),
    ("08.5", lambda c, p, y, s: (w := p * np.exp(np.asarray(dist.Normal(c, s).log_prob(y)).sum(1))) / w.sum()),
    ("08.6", scale()),
    ("08.6", lambda p, s: np.array(scale()(p, s))),
]

DOTS = {"08.3": [...] * 3}
TABLE = Table(exercises=EXERCISES, planted=PLANTED, right=RIGHT, dots=DOTS, elsewhere=("08.3",), draws=2)


# ------------------------------------------------------------------------------------ 08.3: the model


class Three(saturation.MeNet):
    def random_effects(self):
        return dist.Normal(jnp.zeros(3), 1.0)


def variant(**methods):
    return type("Three", (Three,), methods | {"__annotations__": {}})


def network(inputs=4, hidden=(6, 6), **changed):
    """The one that the task spells out, but for what is changed."""
    others = inputs - 1
    asked = {"centre": (0.5, *[0.0] * others), "spread": (0.3, *[3.0] * others), "last": 1.0}
    return mf.networks.MLP(inputs, hidden, **asked | changed)


def at(kind=Three, inputs=4, **changed):
    return kind(**{"net": network(inputs), "sigma": 0.2, "dials": jnp.ones(3)} | changed)


def observed(mean, sd=lambda m: m.sigma):
    return variant(observations=lambda self, eta, s: dist.Normal(mean(self, eta, s), sd(self)))


class NoDials(mf.Model):
    net: mf.networks.MLP = mf.weights(prior=mf.networks.L2(1.0))
    sigma: Array = mf.positive()
    random_effects, observations = Three.random_effects, Three.observations


MODELS = [
    (Three, "This is the class", 2),
    (3.0, "A model is asked for", 2),
    (NoDials(net=mf.networks.MLP(4), sigma=0.2), "dials is not declared", 1),
    (at(inputs=3), "three inputs", 1),
    (at(inputs=5), "another number of inputs", 1),
    (at(net=network(centre=0.0)), "not brought to a size near one", 2),
    (at(net=network(spread=(0.3, 1.0, 1.0, 1.0))), "not brought to a size near one", 2),
    (at(net=network(last=0.1)), "last=1.0 is left out", 2),
    (at(net=network(hidden=(6,))), "two hidden layers of six units", 2),
    (at(dials=jnp.ones(2)), "one number for each", 2),
    (at(variant(random_effects=lambda self: dist.Normal(jnp.zeros(2), 1.0))), "of three numbers", 1),
    (at(variant(random_effects=lambda self: dist.Normal(0.0, 1.0))), "of three numbers", 1),
    (at(variant(random_effects=lambda self: dist.Normal(jnp.zeros(3), 2.0))), "mean 0 and SD 1", 1),
    (at(variant(random_effects=lambda self: None)), "returns nothing", None),
    (at(observed(lambda m, e, s: m.net.along(s.time, e))), "dials have no effect", 2),
    (at(observed(lambda m, e, s: m.net.along(s.time, m.dials))), "the dials instead of eta", 2),
    (at(observed(lambda m, e, s: m.net.along(s.time, 0 * e))), "everybody is typical", 2),
    (at(observed(lambda m, e, s: 2 * m.net.along(s.time, m.dials * e))), "is not the network along", 2),
    (at(observed(lambda m, e, s: m.net(s.time[1], m.dials * e))), "A mean for each time", 2),
    (at(observed(lambda m, e, s: m.net.along(s.time, m.dials * e), lambda m: m.sigma**2)), "sigma is squared", 2),
    (at(observed(lambda m, e, s: m.net.along(s.time, m.dials * e), lambda m: 1.0)), "do not have the SD", 2),
    (at(variant(observations=lambda self, eta, s: self.net.along(s.time, eta))), "returns no distribution", None),
    (at(variant(observations=lambda self, eta, s: None)), "returns nothing", None),
    (at(observed(lambda m, e, s: m.net(s.time, m.dials * e))), "For every time in turn", 2),
    (at(observed(lambda m, e, s: m.net.along(m.dials * e, s.time))), "For every time in turn", 2),
    (at(observed(lambda m, e, s: m.net.along(s.time, m.dials + e))), "is not the network along", 2),
    (at(variant(observations=lambda self, eta, s: self.oops)), "observations stopped with AttributeError", None),
]


@pytest.mark.parametrize("model, part, hint", MODELS)
def test_a_wrong_model_gets_its_reason(model, part, hint):
    verdict = check("08.3", [model, ..., ...])
    assert verdict.state == "wrong", verdict.text
    assert part in verdict.reason and verdict.hint == hint, verdict.text


def test_a_right_model_is_right_however_it_is_written():
    other = variant(random_effects=lambda self: dist.MultivariateNormal(jnp.zeros(3), jnp.eye(3)))
    for model in (
        at(),
        at(other),
        at(net=network(seed=5)),
    ):
        verdict = check("08.3", [model, ..., ...])
        assert verdict.state == "open" and "model right. Next is fit" in verdict.reason, verdict.text


def outside(**changes):
    """What a fit looks like from outside; training one takes half a minute, and the worked solution does."""
    fit = object.__new__(mf.Fit)
    shown = {"model": at(sigma=0.05), "method": saturation.ADAM, "fixed": ("dials",)}
    for name, value in ({"population": saturation.simulate(100, 1)} | shown | changes).items():
        object.__setattr__(fit, name, value)
    return fit


def test_a_fit_that_is_none_gets_its_reason():
    def said(**changes):
        with pytest.raises(Wrong) as wrong:
            models_08.judge_fit(outside(**changes))
        return wrong.value.reason

    models_08.judge_fit(outside())
    with pytest.raises(Wrong, match="not what mf.fit"):
        models_08.judge_fit(at())
    assert "another number of random effects" in said(model=saturation.start())
    assert "other people" in said(population=saturation.simulate(200, 2))
    assert "does not integrate" in said(method=mf.Adam(mf.JointMAP()))
    assert "does not integrate" in said(method=mf.NaivePooled())
    assert "trained as if they were parameters" in said(fixed=())
    assert "A dial is off" in said(model=at(sigma=0.05, dials=jnp.array([1.0, 1.0, 0.0])))
    assert "to the end" in said(model=at(sigma=0.15))


@pytest.mark.parametrize(
    "gain, part",
    [(0.0, "the same fit twice"), (40.0, "divide by 200"), (7.0, "two dials"), (np.nan, "finite"), ("x", "One number")],
)
def test_a_gain_that_is_none_gets_its_reason(gain, part):
    with pytest.raises(Wrong, match=part):
        models_08.judge_gain(gain)


def test_a_gain_of_either_sign_is_right():
    for gain in (0.3, -0.2, np.float64(0.8), jnp.asarray(-0.9)):
        models_08.judge_gain(gain)
    with pytest.raises(StillOpen):
        models_08.judge_gain(...)


# ------------------------------------------------------------------------------------ the truths themselves


def test_the_size_is_the_librarys():
    for effects, hidden in ((2, (6, 6)), (1, (10, 10)), (5, (3,))):
        assert lesson_08.size(effects, hidden) == mf.networks.MLP(1 + effects, hidden).size


def test_the_joint_scale_is_where_the_price_is_lowest():
    p, strength = np.random.default_rng(1).normal(size=50), 0.7
    best = minimize_scalar(lambda w: strength * w**2 + 0.5 * np.sum((p / w) ** 2), bounds=(0.1, 20), method="bounded")
    w, sd = lesson_08.joint_scale(p, strength)
    assert w == pytest.approx(best.x, rel=1e-5) and sd == pytest.approx(np.sqrt(np.mean((p / w) ** 2)))


def test_turned_weights_give_the_same_curves():
    rng, model = np.random.default_rng(2), saturation.start()
    rotation, eta = np.array([[0.6, -0.8], [0.8, 0.6]]), rng.normal(size=2)
    first = np.asarray(model.net.weights[0])
    net = eqx.tree_at(lambda n: n.weights[0], model.net, jnp.asarray(lesson_08.turned(first, rotation)))
    assert float(net(0.4, rotation @ eta)) == pytest.approx(float(model.net(0.4, eta)), rel=1e-12)


def test_the_posterior_is_the_closed_form_on_a_fine_grid():
    axis = np.linspace(-6, 6, 4001)
    y, sigma = np.array([1.0, 0.4, 0.9]), 0.8
    prior = np.exp(-0.5 * axis**2)
    weights = lesson_08.posterior(np.repeat(axis[:, None], 3, axis=1), prior / prior.sum(), y, sigma)
    precision = 1 + 3 / sigma**2
    assert weights @ axis == pytest.approx(y.sum() / sigma**2 / precision, abs=1e-6)
    assert weights @ (axis - weights @ axis) ** 2 == pytest.approx(1 / precision, abs=1e-5)

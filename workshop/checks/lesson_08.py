"""Exercises of lesson 08, MeNets: what people take for right, and what each mistake is called."""

from collections.abc import Callable

import numpy as np

from workshop.checks import models_08
from workshop.checks.engine import Exercise, Function, Judged, Mistake, Parts

# ------------------------------------------------------------------------------------ 1: counting weights


def size(effects: int, hidden: tuple[int, ...]) -> int:
    """Weights and biases of a network of time and `effects` random effects, with one output."""
    units = (1 + effects, *hidden, 1)
    return sum(m * (n + 1) for n, m in zip(units[:-1], units[1:], strict=True))


def _sizes(effects: int, hidden: tuple[int, ...], first: int = 1, bias: int = 1, last_bias: int = 1) -> int:
    units = (first + effects, *hidden, 1)
    layers = list(zip(units[:-1], units[1:], strict=True))
    return sum(m * (n + bias) for n, m in layers[:-1]) + layers[-1][0] + last_bias


_SIZE = Function(
    "How many weights, by pencil",
    truth=size,
    inputs=lambda rng: (int(rng.integers(1, 6)), tuple(int(w) for w in rng.integers(2, 12, rng.integers(3, 5)))),
    praise="The random effects are not among them: they are integrated out, so more people are not more parameters.",
    mistakes=[
        Mistake(lambda k, h: _sizes(k, h, bias=0, last_bias=0), "The biases are missing: one for every unit.", 2),
        Mistake(lambda k, h: _sizes(k, h, last_bias=0), "The output is a unit too, and has a bias.", 2),
        Mistake(lambda k, h: _sizes(k, h, first=0), "Time is an input as well: 1 + effects of them.", 1),
        Mistake(
            lambda k, h: size(k, h) + k, "A person's random effects are inputs, not parameters: do not add them.", 1
        ),
        Mistake(lambda k, h: size(k, h) + 1, "One too many: sigma is a parameter of the model, not of the network.", 1),
        Mistake(
            lambda k, h: sum((1 + k, *h, 1)), "These are the units. Between two layers every unit meets every unit.", 2
        ),
        Mistake(lambda k, h: sum(h) + 1, "These are the biases alone.", 2),
        Mistake(
            lambda k, h: _sizes(k, h, bias=0, last_bias=0) + len(h) + 1,
            "One bias a layer is too few: every unit has its own.",
            2,
        ),
        Mistake(lambda k, h: size(k, h) + 1 + k, "Inputs have no biases: they begin with the first hidden layer.", 2),
        Mistake(lambda k, h: size(k, h[:2]), "Only the first two hidden layers are counted; there may be more.", 2),
        Mistake(
            lambda k, h: (k + 2) * h[0] + h[-1] + 1,
            "What lies between the hidden layers is missing, and is the most.",
            2,
        ),
        Mistake(
            lambda k, h: size(k, h[:-1]) - 1 - h[-2] + (h[-2] + 1) * h[-1],
            "The last step is missing, from the last hidden layer to the output.",
            2,
        ),
        Mistake(
            lambda k, h: (1 + k) * int(np.prod(h)),
            "Between two layers the numbers of units multiply. From pair to pair they add up.",
            2,
        ),
    ],
)

# ------------------------------------------------------------------------------------ 2: how many directions


def left_over(curves: np.ndarray, kept: int, sigma: float) -> float:
    """The residual SD expected when `kept` principal directions of the curves are described, and noise has SD sigma."""
    values = np.linalg.eigvalsh(np.cov(curves.T, ddof=0))[::-1]
    return np.sqrt(values[kept:].sum() / curves.shape[1] + sigma**2)


def _values(curves: np.ndarray, centred: bool = True) -> np.ndarray:
    c = curves - curves.mean(0) if centred else curves
    return np.linalg.eigvalsh(c.T @ c / len(c))[::-1]


def _between_people(curves: np.ndarray) -> np.ndarray:
    """The eigenvalues of np.cov(curves), without the transpose, but for those that are zero: the largest first."""
    c = curves - curves.mean(1, keepdims=True)
    return np.linalg.eigvalsh(c.T @ c / (c.shape[1] - 1))[::-1]


def _draw_curves(rng: np.random.Generator) -> tuple[np.ndarray, int, float]:
    count, times = int(rng.integers(400, 600)), int(rng.integers(6, 12))
    shapes = rng.normal(size=(5, times)) * np.array([1.0, 0.6, 0.4, 0.3, 0.2])[:, None]
    curves = rng.normal(1.0, 1.0, (1, times)) + rng.normal(size=(count, 5)) @ shapes
    return curves, int(rng.integers(1, 4)), float(rng.uniform(0.2, 0.5))


_LEFT = Function(
    "What one direction leaves",
    truth=left_over,
    inputs=_draw_curves,
    rtol=4e-3,  # N or N - 1 is a matter of taste
    praise="That is what a network with that many random effects finds for sigma, if it is wide and well trained.",
    mistakes=[
        Mistake(
            lambda c, k, s: np.sqrt(_values(c, False)[k:].sum() / c.shape[1] + s**2),
            "The mean curve was not taken off: directions are of the differences between people.",
            1,
        ),
        Mistake(
            lambda c, k, s: np.sqrt(_values(c)[k:].sum() / c.shape[1]),
            "The noise is missing: add its variance before the root.",
            3,
        ),
        Mistake(
            lambda c, k, s: np.sqrt(_values(c)[k:].sum() / c.shape[1]) + s,
            "Variances add up, SDs do not: add sigma squared before the root.",
            3,
        ),
        Mistake(
            lambda c, k, s: _values(c)[k:].sum() / c.shape[1] + s**2, "This is a variance: take the root at the end.", 3
        ),
        Mistake(
            lambda c, k, s: np.sqrt(_values(c)[k:].sum() + s**2),
            "This is the sum over all times: the eigenvalues left are shared by the times, so divide by their number.",
            2,
        ),
        Mistake(
            lambda c, k, s: np.sqrt(_values(c)[k:].sum() / len(c) + s**2),
            "Divided by the number of people; the eigenvalues left are shared by the times.",
            2,
        ),
        Mistake(
            lambda c, k, s: np.sqrt(_values(c)[:k].sum() / c.shape[1] + s**2),
            "These are the directions that are described. Asked for is what the others leave.",
            2,
        ),
        Mistake(
            lambda c, k, s: np.sqrt(_values(c)[::-1][k:].sum() / c.shape[1] + s**2),
            "eigvalsh sorts from small to large: turn its result round before you cut.",
            2,
        ),
        Mistake(
            lambda c, k, s: np.sqrt(_values(c)[k + 1 :].sum() / c.shape[1] + s**2),
            "One direction too many was taken off: Python counts from 0.",
            2,
        ),
        Mistake(
            lambda c, k, s: np.sqrt(_values(c)[k] / c.shape[1] + s**2),
            "This is the next direction alone. All that are not described are left.",
            2,
        ),
        Mistake(
            lambda c, k, s: np.sqrt(_values(c)[::-1][:k].sum() / c.shape[1] + s**2),
            "These are the smallest eigenvalues, as many as are kept. Left are all but the largest.",
            2,
        ),
        Mistake(
            lambda c, k, s: np.sqrt(_values(c)[k:].mean() + s**2),
            "The mean over the directions left was taken. Add them up, and divide by the number of times.",
            2,
        ),
        Mistake(
            lambda c, k, s: np.sqrt(_values(c)[k:].sum() / _values(c).sum() + s**2),
            "This is the share of the variance that is left. Asked for is the variance itself, for one time.",
            2,
        ),
        Mistake(
            lambda c, k, s: np.sqrt((_values(c)[k:].sum() + s**2) / c.shape[1]),
            "The noise was divided by the number of times, too. It is there at each of them.",
            3,
        ),
        Mistake(
            lambda c, k, s: np.sqrt(_values(c)[k:].sum() / c.shape[1] + s),
            "sigma is an SD: its square is what adds up.",
            3,
        ),
        *(
            Mistake(
                lambda c, k, s, per=per: np.sqrt(_between_people(c)[k:].sum() / c.shape[per] + s**2),
                "np.cov wants a row for every time, and here a row is a person: transpose the curves.",
                1,
            )
            for per in (1, 0)
        ),
    ],
)

# ------------------------------------------------------------------------------------ 4: turning the plane


def turned(weights: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """First-layer weights that take rotation @ eta to what `weights` made of eta; the first column is time's."""
    return np.column_stack([weights[:, 0], weights[:, 1:] @ rotation.T])


def _draw_turn(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    angle = rng.uniform(0.3, 1.2)
    c, s = np.cos(angle), np.sin(angle)
    return rng.normal(size=(int(rng.integers(3, 8)), 3)), np.array([[c, -s], [s, c]])


_TURNED = Function(
    "Turn the plane",
    truth=turned,
    inputs=_draw_turn,
    praise="Likelihood and prior are both blind to it: a network learns a plane of curves, not its axes.",
    mistakes=[
        Mistake(
            lambda w, r: np.column_stack([w[:, 0], w[:, 1:] @ r]),
            "This turns the weights along with eta. They have to turn it back: which matrix undoes a rotation?",
            2,
        ),
        Mistake(lambda w, r: w, "Nothing has changed: a turned eta then makes other curves.", 1),
        Mistake(
            lambda w, r: np.column_stack([w[:, :2] @ r.T, w[:, 2]]),
            "Time was turned with it. Its weights are column 0; those of eta are columns 1 and 2.",
            1,
        ),
        Mistake(
            lambda w, r: w[:, 1:] @ r.T, "Only the columns of eta are returned: time's belongs in front, unchanged.", 3
        ),
        Mistake(
            lambda w, r: np.column_stack([w[:, 1:] @ r.T, w[:, 0]]),
            "The columns are right and in the wrong order: time's is the first.",
            3,
        ),
        Mistake(
            lambda w, r: np.column_stack([0 * w[:, 0], w[:, 1:] @ r.T]),
            "Time's weights are gone: keep them as they are.",
            1,
        ),
    ],
)

# ------------------------------------------------------------------------------------ 5: from prior to posterior


def posterior(curves: np.ndarray, prior: np.ndarray, y: np.ndarray, sigma: float) -> np.ndarray:
    """Weights of the grid's points after the observations y; they add up to one."""
    return _posterior(curves, prior, y, sigma)


def _posterior(
    curves: np.ndarray,
    prior: np.ndarray,
    y: np.ndarray,
    sigma: float,
    log_likelihood: Callable = lambda d, s: -0.5 * np.sum((d / s) ** 2, axis=1),
    with_prior: Callable = lambda log, prior: log + np.log(prior),
    end: Callable = lambda w: w / w.sum(),
) -> np.ndarray:
    log = with_prior(log_likelihood(curves - y, sigma), prior)
    return end(np.exp(log))


def _weighed(w: np.ndarray) -> np.ndarray:
    return w / w.sum()


def _highest_one(log_likelihood: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """The log weights after the largest log-likelihood was taken off."""
    return log_likelihood - log_likelihood.max() + np.log(prior)


def _other(**parts: Callable) -> Callable:
    return lambda curves, prior, y, sigma: _posterior(curves, prior, y, sigma, **parts)


def _draw_grid(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    points, times = int(rng.integers(8, 20)), int(rng.integers(2, 5))
    curves, sigma = rng.normal(size=(points, times)), float(rng.uniform(0.5, 1.5))
    prior = rng.uniform(0.1, 1.0, points)
    return curves, prior / prior.sum(), curves[0] + sigma * rng.normal(size=times), sigma


_POSTERIOR = Function(
    "From prior to posterior, by hand",
    truth=posterior,
    inputs=_draw_grid,
    praise="This is all that the explorer does, on 2,500 points.",
    mistakes=[
        Mistake(_other(with_prior=lambda log, p: log), "The prior is missing: multiply by it, or add its log.", 1),
        *(
            Mistake(_other(**parts), "The weights do not add up to one: divide them by their sum at the end.", 3)
            for parts in ({"end": lambda w: w}, {"with_prior": _highest_one, "end": lambda w: w})
        ),
        Mistake(
            _other(log_likelihood=lambda d, s: -np.sum((d / s) ** 2, axis=1)),
            "The half in the exponent of the normal density is missing.",
            2,
        ),
        Mistake(
            _other(log_likelihood=lambda d, s: -0.5 * np.sum(d**2, axis=1) / s),
            "The squared distances are to be divided by the variance, sigma squared.",
            2,
        ),
        Mistake(
            _other(log_likelihood=lambda d, s: -0.5 * np.sum(d**2, axis=1)),
            "sigma does not appear: a distance counts in units of it.",
            2,
        ),
        Mistake(
            _other(log_likelihood=lambda d, s: -0.5 * np.mean((d / s) ** 2, axis=1)),
            "The mean over the observations was taken. Independent densities multiply, so their logarithms add up.",
            2,
        ),
        Mistake(
            _other(log_likelihood=lambda d, s: -0.5 * (d[:, 0] / s) ** 2),
            "Only the first observation counts: multiply the densities of all.",
            2,
        ),
        Mistake(_other(with_prior=lambda log, p: log + p), "The prior itself was added to a logarithm.", 1),
        Mistake(
            lambda curves, prior, y, sigma: prior,
            "This is the prior again: if the sum goes over the points as well, all are equally likely. axis=1.",
            2,
        ),
        Mistake(
            lambda curves, prior, y, sigma: prior * _posterior(curves, 1 + 0 * prior, y, sigma),
            "The likelihood alone was made to add up to one. Do that at the end, with the prior in it.",
            3,
        ),
        Mistake(
            _other(log_likelihood=lambda d, s: 0.5 * np.sum((d / s) ** 2, axis=1)),
            "The sign in the exponent is wrong: the further off a curve is, the less it should count.",
            2,
        ),
        Mistake(
            _other(log_likelihood=lambda d, s: -np.sum((d / (2 * s)) ** 2, axis=1)),
            "The 2 was squared with sigma: the half stands outside of the square.",
            2,
        ),
        Mistake(
            _other(log_likelihood=lambda d, s: -0.5 * np.sum(d**2, axis=1) * s**2),
            "Multiplied by the variance. (Python divides from left to right: d**2 / 2 * sigma**2 needs brackets.)",
            2,
        ),
        Mistake(
            _other(log_likelihood=lambda d, s: -0.5 * np.sum(np.abs(d) / s, axis=1)),
            "The distances are not squared.",
            2,
        ),
        Mistake(
            _other(log_likelihood=lambda d, s: np.log(np.sum(np.exp(-0.5 * (d / s) ** 2), axis=1))),
            "The densities of the observations were added up. Of independent observations they multiply.",
            1,
        ),
        Mistake(
            lambda curves, prior, y, sigma: _weighed(prior * np.sum(((curves - y) / sigma) ** 2, axis=1)),
            "The logarithm of the likelihood was multiplied by the prior: take its exponential first.",
            3,
        ),
        Mistake(_other(end=lambda w: w / w.max()), "Divided by the largest weight. Divide by their sum.", 3),
    ],
)

# ------------------------------------------------------------------------------------ 6: why the joint mode shrinks eta


def joint_scale(products: np.ndarray, strength: float) -> np.ndarray:
    """The w at which strength w^2 + sum (products / w)^2 / 2 is smallest, and the SD (about 0) of eta there."""
    w = (np.sum(products**2) / (2 * strength)) ** 0.25
    return np.array([w, np.sqrt(np.mean(products**2)) / w])


def _joint(power: float = 0.25, half: float = 2.0, mean: bool = False, sd: Callable | None = None) -> Callable:
    def wrong(p, strength):
        w = ((np.mean(p**2) if mean else np.sum(p**2)) / (half * strength)) ** power
        root = np.sqrt(np.mean(p**2))
        return np.array([w, root / w if sd is None else sd(root, w, p)])

    return wrong


def _by_sum(p: np.ndarray, strength: float) -> np.ndarray:
    w = (np.sum(p) ** 2 / (2 * strength)) ** 0.25
    return np.array([w, np.sqrt(np.mean(p**2)) / w])


_JOINT = Function(
    "Why the joint mode shrinks everybody",
    truth=joint_scale,
    inputs=lambda rng: (rng.normal(size=int(rng.integers(20, 80))) * rng.uniform(0.5, 2), float(rng.uniform(0.3, 3))),
    praise="With more people the SD of eta falls without end, like one over the fourth root of their number: theirs is "
    "a price that everybody pays, and that of the weight is paid only once.",
    mistakes=[
        Mistake(_joint(power=0.5), "At the minimum w to the *fourth* is known: differentiate both terms again.", 2),
        Mistake(_joint(half=1.0), "A factor of two is lost: the price of eta has a half in it, that of w has none.", 2),
        Mistake(_joint(half=4.0), "There is a factor of two too many: the half has been counted twice.", 2),
        Mistake(_joint(mean=True), "The sum over people was taken for a mean: everybody pays for their own eta.", 1),
        Mistake(_joint(sd=lambda root, w, p: root * w), "eta is the product *divided* by w.", 3),
        Mistake(_joint(sd=lambda root, w, p: root), "This is the SD of the products; that of eta is smaller by w.", 3),
        Mistake(_joint(sd=lambda root, w, p: (root / w) ** 2), "The second number is a variance: take its root.", 3),
        Mistake(lambda p, s: joint_scale(p, s)[::-1], "The two have changed places: the weight first, then the SD.", 3),
        *(
            Mistake(
                _joint(sd=lambda root, w, p, n=n: np.std(p, ddof=n) / w),
                "The mean was taken off the products (np.std does so). Asked for is the root of the mean of squares.",
                3,
            )
            for n in (0, 1)
        ),
        Mistake(
            _joint(sd=lambda root, w, p: np.sqrt(np.sum(p**2)) / w),
            "The second number is the root of the sum of squares: it is their mean that makes an SD.",
            3,
        ),
        Mistake(_joint(power=1 / 3), "Multiply the slope by w cubed: which power of w is then on the left?", 2),
        Mistake(lambda p, s: joint_scale(p, 1.0), "The strength is left out: it says what a large weight costs.", 2),
        Mistake(
            lambda p, s: _by_sum(p, s),
            "The products were added up and then squared, so that they cancel: square first.",
            1,
        ),
    ],
)

EXERCISES: dict[str, Exercise] = {
    "08.1": _SIZE,
    "08.2": _LEFT,
    "08.3": Parts(
        "A third dial",
        [
            Judged("model", models_08.judge_model),
            Judged("fit", models_08.judge_fit),
            Judged("gain", models_08.judge_gain),
        ],
        praise="The truth has two numbers, and a third dial finds nothing new: integrated out, it costs little.",
    ),
    "08.4": _TURNED,
    "08.5": _POSTERIOR,
    "08.6": _JOINT,
}

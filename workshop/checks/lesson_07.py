"""The exercises of lesson 07: what is right, and what people take for right."""

import numpy as np

from workshop.checks import models_07
from workshop.checks.engine import Exercise, Function, Judged, Mistake, Parts

# ------------------------------------------------------------------------------------ 1: a network by hand


def network(t: np.ndarray, u: np.ndarray, c: np.ndarray, v: np.ndarray, b: float) -> np.ndarray:
    """b + sum_j v_j tanh(u_j t + c_j) at every t."""
    return b + np.tanh(np.multiply.outer(t, u) + c) @ v


_NETWORK = Function(
    "A network by hand",
    truth=network,
    inputs=lambda rng: (rng.normal(size=5), *rng.normal(size=(3, 3)), rng.normal()),
    praise="Everything else about networks is about which numbers to put into it.",
    mistakes=[
        Mistake(
            lambda t, u, c, v, b: b + (np.multiply.outer(t, u) + c) @ v, "There is no bend in it: tanh is missing.", 1
        ),
        Mistake(
            lambda t, u, c, v, b: np.tanh(b + (np.multiply.outer(t, u) + c) @ v),
            "tanh is taken of the sum. Every unit has a tanh of its own, and then they are added up.",
            2,
        ),
        Mistake(
            lambda t, u, c, v, b: b + (np.tanh(np.multiply.outer(t, u)) + c) @ v,
            "c stands outside of tanh, where it only lifts the curve. Inside it moves a bend along the time axis.",
            2,
        ),
        Mistake(
            lambda t, u, c, v, b: np.tanh(np.multiply.outer(t, u) + c) @ v,
            "The bias of the output, b, is missing.",
            2,
        ),
        Mistake(
            lambda t, u, c, v, b: b + np.tanh(np.multiply.outer(t, u)) @ v,
            "The biases of the units, c, are missing: all bends sit at time 0.",
            2,
        ),
        Mistake(
            lambda t, u, c, v, b: b + np.tanh(np.multiply.outer(t, v) + c) @ u,
            "u and v have changed places: u goes with time, v with the outcome of tanh.",
            1,
        ),
        Mistake(
            lambda t, u, c, v, b: b + np.tanh(np.multiply.outer(t, u) + c).sum(-1),
            "v is missing: the bends are added up as they are.",
            1,
        ),
        Mistake(
            lambda t, u, c, v, b: b + np.tanh(np.multiply.outer(t, u) - c) @ v,
            "The sign of c is wrong.",
            2,
        ),
        Mistake(
            lambda t, u, c, v, b: (b + np.tanh(np.multiply.outer(t, u) + c) * v).sum(-1),
            "b is added once for every unit: add it after the sum.",
            3,
        ),
        Mistake(
            lambda t, u, c, v, b: b + np.tanh(np.multiply.outer(t, u) + c) @ v / 3,
            "This is the mean of the bends; the sum is asked for.",
            3,
        ),
        Mistake(
            lambda t, u, c, v, b: b + np.tanh(np.add.outer(t, c) * u) @ v,
            "u multiplies c as well. It weighs the time alone; c is added to that.",
            2,
        ),
        Mistake(
            lambda t, u, c, v, b: np.tanh(np.multiply.outer(t, u) + c + b) @ v,
            "b went into the bends. It is the bias of the output: add it after the sum.",
            2,
        ),
        Mistake(
            lambda t, u, c, v, b: np.tanh(np.multiply.outer(t, u)) @ v,
            "Both kinds of biases are missing, c within the bends and b after the sum.",
            2,
        ),
        Mistake(
            lambda t, u, c, v, b: b + np.tanh(np.multiply.outer(t, u) + v) @ c,
            "c and v have changed places: c is added within tanh, v weighs what comes out of it.",
            2,
        ),
        Mistake(
            lambda t, u, c, v, b: b + np.tanh((np.multiply.outer(t, u) + c) * v).sum(-1),
            "v stands inside of tanh. It is the height of a bend: multiply what comes out.",
            2,
        ),
        Mistake(
            lambda t, u, c, v, b: b + (1 / (1 + np.exp(-np.multiply.outer(t, u) - c))) @ v,
            "This is another bend: it runs from 0 to 1, tanh from -1 to 1.",
            2,
        ),
    ],
)

# ------------------------------------------------------------------------------------ 2: counting


def size(inputs: int, hidden: tuple[int, ...], outputs: int) -> int:
    """Weights and biases of a fully connected network."""
    layers = [inputs, *hidden, outputs]
    return sum((n + 1) * m for n, m in zip(layers[:-1], layers[1:], strict=True))


def _layers(inputs: int, hidden: tuple[int, ...], outputs: int) -> list[tuple[int, int]]:
    layers = [inputs, *hidden, outputs]
    return list(zip(layers[:-1], layers[1:], strict=True))


_SIZE = Function(
    "How many numbers?",
    truth=size,
    inputs=lambda rng: (
        int(rng.integers(1, 6)),
        tuple(int(n) for n in rng.integers(2, 9, size=rng.integers(3, 5))),  # two are what people take for granted
        int(rng.integers(2, 5)),
    ),
    praise="Between two wide layers lie most of the numbers: that is why the kit's networks are narrow.",
    mistakes=[
        Mistake(lambda i, h, o: sum(n * m for n, m in _layers(i, h, o)), "The biases are missing.", 1),
        Mistake(
            lambda i, h, o: sum((n + 1) * m for n, m in _layers(i, h, o)) - o,
            "The output has a bias, too, one for each number that comes out.",
            2,
        ),
        Mistake(
            lambda i, h, o: sum(n * m for n, m in _layers(i, h, o)) + len(h) + 1,
            "One bias a layer is too few: every unit has its own.",
            2,
        ),
        Mistake(
            lambda i, h, o: sum((n + 1) * m for n, m in _layers(i, h, o)) + i,
            "What goes in has no biases: they begin with the first hidden layer.",
            2,
        ),
        Mistake(
            lambda i, h, o: i + sum(h) + o, "These are the units. Count what stands on the arrows between them.", 1
        ),
        Mistake(lambda i, h, o: sum(h) + o, "These are the biases alone.", 1),
        Mistake(
            lambda i, h, o: (i + 1) * h[0] + (h[-1] + 1) * o,
            "The numbers between the hidden layers are missing.",
            3,
        ),
        Mistake(
            lambda i, h, o: i * h[0] + h[-1] * o + sum(h) + o,
            "The weights between the hidden layers are missing.",
            3,
        ),
        Mistake(
            lambda i, h, o: size(i, h[:2], o),
            "Only the first two hidden layers are counted. There may be any number of them.",
            3,
        ),
        Mistake(
            lambda i, h, o: size(i, h, 1),
            "This counts one number that comes out; there are `outputs` of them.",
            2,
        ),
        Mistake(
            lambda i, h, o: size(i, h[:-1], h[-1]),
            "The last step is missing, from the last hidden layer to what comes out.",
            2,
        ),
        Mistake(
            lambda i, h, o: sum(n * (m + 1) for n, m in _layers(i, h, o)),
            "A bias belongs to the unit that the arrows lead to, and here it is counted where they begin.",
            1,
        ),
        Mistake(
            lambda i, h, o: sum((n + 1) * (m + 1) for n, m in _layers(i, h, o)),
            "One is added on both sides of the product. A bias is one more arrow to every unit of the next layer.",
            1,
        ),
        Mistake(
            lambda i, h, o: i * int(np.prod(h)) * o,
            "Between two layers the numbers of units multiply. From pair to pair they add up.",
            2,
        ),
    ],
)

# ------------------------------------------------------------------------------------ 3: the prior behind the penalty


def objective(y: np.ndarray, f: np.ndarray, sigma: float, w: np.ndarray, strength: float) -> float:
    """sum (y - f)^2 / (2 sigma^2) + strength sum w^2: minus the log posterior, without constants."""
    return float(np.sum((y - f) ** 2) / (2 * sigma**2) + strength * np.sum(w**2))


def _points(rng: np.random.Generator) -> tuple:
    return rng.normal(size=6), rng.normal(size=6), rng.uniform(0.2, 0.8), rng.normal(size=4), rng.uniform(0.5, 3.0)


def _fit(y: np.ndarray, f: np.ndarray, sigma: float) -> float:
    return float(np.sum((y - f) ** 2) / (2 * sigma**2))


_SD = Function(
    "prior_sd",
    truth=lambda strength: 1 / np.sqrt(2 * strength),
    inputs=lambda rng: (rng.uniform(0.2, 5.0),),
    mistakes=[
        Mistake(lambda s: 1 / (2 * s), "This is the variance: take its root.", 1),
        Mistake(
            lambda s: 1 / np.sqrt(s),
            "The normal density has w squared over *twice* its variance in the exponent.",
            1,
        ),
        Mistake(lambda s: 1 / s, "Compare strength w^2 with w^2 / (2 sd^2), and solve for sd.", 1),
        Mistake(lambda s: np.sqrt(2 * s), "It is turned over: a stronger penalty is a narrower prior.", 1),
        Mistake(lambda s: np.sqrt(s), "It is turned over: a stronger penalty is a narrower prior.", 1),
        Mistake(lambda s: np.sqrt(s / 2), "It is turned over: a stronger penalty is a narrower prior.", 1),
        Mistake(lambda s: s, "The strength is no SD: a stronger penalty is a narrower prior.", 1),
        Mistake(lambda s: 2 * s, "It is turned over, and a root is missing.", 1),
        Mistake(
            lambda s: s / 2,
            "This grows with the strength. (Python divides from left to right: 1 / 2 * strength is half of it.)",
            1,
        ),
        Mistake(
            lambda s: s / np.sqrt(2),
            "This grows with the strength. (Python divides from left to right: the strength belongs under the root.)",
            1,
        ),
    ],
)
_OBJECTIVE = Function(
    "objective",
    truth=objective,
    inputs=_points,
    mistakes=[
        Mistake(lambda y, f, sd, w, s: _fit(y, f, sd), "The prior is missing: this is the likelihood alone.", 2),
        Mistake(
            lambda y, f, sd, w, s: _fit(y, f, sd) - s * np.sum(w**2),
            "The penalty has the wrong sign: large weights should cost something.",
            2,
        ),
        Mistake(
            lambda y, f, sd, w, s: -objective(y, f, sd, w, s),
            "This is the log posterior. Asked for is minus that, which is made small.",
            2,
        ),
        Mistake(
            lambda y, f, sd, w, s: 2 * _fit(y, f, sd) + s * np.sum(w**2),
            "The squares are over *twice* the variance of the noise.",
            2,
        ),
        Mistake(
            lambda y, f, sd, w, s: _fit(y, f, sd) * sd + s * np.sum(w**2),
            "sigma is an SD: the squares are divided by its square.",
            2,
        ),
        Mistake(
            lambda y, f, sd, w, s: np.sum((y - f) ** 2) + s * np.sum(w**2),
            "The noise is missing: how much a gap counts depends on how well y is measured.",
            2,
        ),
        Mistake(
            lambda y, f, sd, w, s: np.mean((y - f) ** 2) / (2 * sd**2) + s * np.sum(w**2),
            "A mean over the points makes many points count no more than few: sum.",
            3,
        ),
        Mistake(
            lambda y, f, sd, w, s: _fit(y, f, sd) + s * np.sum(np.abs(w)),
            "This is the L1 penalty, of absolute values. L2 is of squares.",
            3,
        ),
        Mistake(
            lambda y, f, sd, w, s: _fit(y, f, sd) + s * np.sqrt(np.sum(w**2)),
            "A root too many: the penalty is the sum of squares itself.",
            3,
        ),
        Mistake(
            lambda y, f, sd, w, s: _fit(y, f, sd) + s * np.sum(w),
            "Weights of opposite sign cancel in a plain sum: square them.",
            3,
        ),
        Mistake(
            lambda y, f, sd, w, s: _fit(y, f, sd) + s * np.mean(w**2),
            "Every weight has a prior of its own, and their logarithms add up: a sum, not a mean.",
            3,
        ),
        Mistake(
            lambda y, f, sd, w, s: _fit(y, f, sd) * sd**4 + s * np.sum(w**2),
            "Python divides from left to right: / 2 * sigma**2 multiplies by the variance. Put brackets around it.",
            2,
        ),
        Mistake(
            lambda y, f, sd, w, s: -_fit(y, f, sd) + s * np.sum(w**2),
            "The misfit has the wrong sign: it is a cost, as the penalty is.",
            2,
        ),
        Mistake(
            lambda y, f, sd, w, s: _fit(y, f, sd) + np.sum(w**2),
            "The strength is missing: it is the price of a weight's square.",
            2,
        ),
        Mistake(
            lambda y, f, sd, w, s: _fit(y, f, sd) + s * np.sum(w**2) / 2,
            "There is a half too many: the penalty is strength times the sum of squares, no less.",
            2,
        ),
        Mistake(
            lambda y, f, sd, w, s: _fit(y, f, sd) + np.sum(w**2) / (2 * s**2),
            "The strength was taken for the SD of the prior. It is the factor in front of the squares.",
            1,
        ),
        Mistake(
            lambda y, f, sd, w, s: _fit(y, f, sd) + s * np.sum(w) ** 2,
            "The weights were added up and then squared, so that they cancel: square first.",
            3,
        ),
        Mistake(
            lambda y, f, sd, w, s: np.sum(y - f) ** 2 / (2 * sd**2) + s * np.sum(w**2),
            "The gaps were added up and then squared, so that they cancel: square first.",
            3,
        ),
        *(
            Mistake(
                lambda y, f, sd, w, s, c=constant: objective(y, f, sd, w, s) + c(y, sd, w, s),
                "Right but for the constants: leave out what does not depend on the weights.",
                2,
            )
            for constant in (
                lambda y, sd, w, s: len(y) * np.log(sd),
                lambda y, sd, w, s: len(y) * np.log(sd * np.sqrt(2 * np.pi)),
                lambda y, sd, w, s: len(y) * np.log(sd * np.sqrt(2 * np.pi)) + len(w) * np.log(np.pi / s) / 2,
            )
        ),
    ],
)

EXERCISES: dict[str, Exercise] = {
    "07.1": _NETWORK,
    "07.2": _SIZE,
    "07.3": Parts(
        "The prior behind a penalty",
        [_SD, _OBJECTIVE],
        praise="Strength 0.5 is a standard normal prior; noise and prior are weighed against each other in one sum.",
    ),
    "07.4": Judged(
        "What asks for extrapolation?",
        models_07.judge_statements,
        praise="Ask of every network which inputs the new situation will show it.",
    ),
    "07.5": Judged(
        "Fill a gap of your own",
        models_07.judge_gap,
        praise="Three known arrows and one unknown: the new doses ask the network about concentrations only.",
    ),
    "07.6": Judged(
        "Tell a network its scales",
        models_07.judge_scales,
        praise="Four constants and a link, and the first guess is already a sensible half-life for everybody.",
    ),
}

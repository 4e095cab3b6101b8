"""Exercises 12.1 to 12.3: whose measurements are these, EM's second line, and a gate."""

import itertools
from collections.abc import Callable

import numpy as np
from scipy.special import expit, log_softmax, logsumexp

from workshop.checks.engine import Function, slip


def responsibilities(log_share: np.ndarray, log_l: np.ndarray) -> np.ndarray:
    """pi_ik L_ik over its sum over k, of each person."""
    return _bayes()(log_share, log_l)


def _bayes(
    each: Callable = lambda log_share, log_l: log_share + log_l,
    end: Callable = lambda a: np.exp(a - logsumexp(a, axis=1, keepdims=True)),
) -> Callable:
    return lambda log_share, log_l: end(each(log_share, log_l))


def _hard(each: np.ndarray) -> np.ndarray:
    return (each == each.max(axis=1, keepdims=True)).astype(float)


_levels = itertools.cycle((-4.0, -900.0))  # of log L: after many measurements a likelihood is no number any more


def _people(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    classes = int(rng.integers(2, 4))
    shares = rng.dirichlet(np.full(classes, 3.0), size=5)
    return np.log(shares), next(_levels) + 2.0 * rng.standard_normal((5, classes))


RESPONSIBILITIES = Function(
    "Whose measurements?",
    truth=responsibilities,
    inputs=_people,
    praise="The gate is the prior, the experts are the likelihood: nothing else is in a mixture.",
    mistakes=[
        slip(
            _bayes(each=lambda s, ll: ll),
            1,
            "The gate is left out: what was known before the measurements counts as well.",
        ),
        slip(
            lambda s, ll: np.exp(s),
            1,
            "This is the gate alone, which has seen no measurement.",
        ),
        slip(
            _bayes(end=lambda a: np.exp(a - logsumexp(a, axis=0, keepdims=True))),
            2,
            "They add up to one over the people. Each *person* has one, to be given out among the classes.",
        ),
        slip(
            _bayes(end=lambda a: np.exp(a) / np.exp(a).sum(axis=1, keepdims=True)),
            3,
            "It is 0/0 after many measurements, where all likelihoods are tiny: take a person's largest logarithm off "
            "before np.exp. Otherwise it is right.",
        ),
        slip(
            _bayes(end=np.exp),
            2,
            "They do not add up to one: divide each person's by their sum.",
        ),
        slip(
            _bayes(end=lambda a: a / a.sum(axis=1, keepdims=True)),
            2,
            "Logarithms are divided by their sum. Take their exponential first.",
        ),
        slip(
            _bayes(end=_hard),
            1,
            "Everybody belongs wholly to the likeliest class here. Who is undecided should stay so.",
        ),
    ],
)


def m_step(r: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Shares, means and SDs (3, K) of normals, each person counting r_ik in class k."""
    return _step()(r, y)


def _step(
    weight: Callable = lambda r: r,
    share: Callable = lambda r: r.mean(axis=0),
    mean: Callable = lambda r, y: r.T @ y / r.sum(axis=0),
    spread: Callable = lambda r, y, mean: np.sqrt(np.sum(r * (y[:, None] - mean) ** 2, axis=0) / r.sum(axis=0)),
) -> Callable:
    def step(r, y):
        own = weight(r)
        middle = mean(own, y)
        return np.stack([share(own), middle, spread(own, y, middle)])

    return step


def _given_out(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    classes = int(rng.integers(2, 4))
    r = rng.dirichlet(np.linspace(0.6, 1.4, classes), size=30)
    return r, 2.0 + r @ np.linspace(-2.0, 2.0, classes) + 0.5 * rng.standard_normal(30)


M_STEP = Function(
    "EM's second line",
    truth=m_step,
    inputs=_given_out,
    praise="With 12.1 this is the whole algorithm: two lines, in a circle.",
    mistakes=[
        slip(
            _step(weight=_hard),
            1,
            "Each person counts for the likeliest class only. Everybody counts for every class, by r.",
        ),
        slip(
            _step(weight=lambda r: np.full(r.shape, 1.0 / r.shape[1])),
            1,
            "r is not used: all classes get the same numbers, and would never come apart.",
        ),
        slip(
            _step(mean=lambda r, y: r.T @ y / len(y)),
            2,
            "The sums of r y are divided by the number of people. Divide by how many the class holds, the sum of r.",
        ),
        slip(
            _step(share=lambda r: r.sum(axis=0)),
            2,
            "The first row counts people. Shares are these over the number of all.",
        ),
        slip(
            _step(spread=lambda r, y, mean: np.sum(r * (y[:, None] - mean) ** 2, axis=0) / r.sum(axis=0)),
            3,
            "The last row has variances; SDs are asked for.",
        ),
        slip(
            _step(spread=lambda r, y, mean: np.sqrt(np.sum(r * (y[:, None] - y.mean()) ** 2, axis=0) / r.sum(axis=0))),
            3,
            "The SDs go around the mean of everybody. Each class has its own middle, the new one.",
        ),
        slip(
            _step(spread=lambda r, y, mean: np.full(r.shape[1], np.std(y))),
            3,
            "The SDs are that of all people. Weigh the squares by r, too.",
        ),
        slip(
            _step(spread=lambda r, y, mean: np.sqrt(np.mean(r * (y[:, None] - mean) ** 2, axis=0))),
            3,
            "The squares are averaged over everybody. Divide by the sum of r, as for the means.",
        ),
    ],
)


def gate(w: np.ndarray, log_odds: np.ndarray) -> np.ndarray:
    """Shares (N, K): a softmax of 0 for the first class and of a_k + b_k'w for the others."""
    return _gate()(w, log_odds)


def _gate(
    line: Callable = lambda w, a: a[:, 0] + w @ a[:, 1:].T,
    end: Callable = lambda all_of: np.exp(log_softmax(all_of, axis=1)),
    first: Callable = lambda line: np.column_stack([np.zeros(len(line)), line]),
) -> Callable:
    return lambda w, a: end(first(line(w, a)))


def _by_itself(w: np.ndarray, a: np.ndarray) -> np.ndarray:
    others = expit(a[:, 0] + w @ a[:, 1:].T)
    return np.column_stack([1.0 - others.sum(axis=1), others])


def _a_gate(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return rng.standard_normal((5, 2)), rng.normal(0.0, 1.0, (2, 3))


GATE = Function(
    "A gate",
    truth=gate,
    inputs=_a_gate,
    praise="Only differences from the first class can be known: so it has none of its own.",
    mistakes=[
        slip(
            _by_itself,
            2,
            "Each log odds is turned into a share by itself. They are against the *first class*, and all shares of a "
            "person are divided by one sum.",
        ),
        slip(
            _gate(first=lambda line: np.column_stack([line, np.zeros(len(line))])),
            2,
            "The class with log odds 0 stands last. It is the first one.",
        ),
        slip(
            _gate(line=lambda w, a: w @ a[:, 1:].T),
            1,
            "The constants, in the first column of log_odds, are left out.",
        ),
        slip(
            _gate(line=lambda w, a: -(a[:, 0] + w @ a[:, 1:].T)),
            1,
            "The other way round: a class with high log odds has a small share here.",
        ),
        slip(
            _gate(end=np.exp),
            2,
            "These are odds against the first class. Divide each person's by their sum.",
        ),
        slip(
            _gate(end=lambda all_of: np.exp(log_softmax(all_of, axis=0))),
            3,
            "The shares add up to one over the people: sum along axis=1.",
        ),
        slip(
            _gate(line=lambda w, a: a[:, -1] + w @ a[:, :-1].T),
            1,
            "The constant is taken from the last column of log_odds. It stands in the first.",
        ),
    ],
)

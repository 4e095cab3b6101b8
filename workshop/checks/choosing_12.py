"""Exercises 12.4 and 12.5: how many kinds there are, and which of them is which."""

from collections.abc import Callable

import numpy as np

from workshop.checks.engine import Function, Mistake, Value, slip
from workshop.studies import fits_of_kinds as given


def bic(log_l: float, parameters: int, people: int) -> float:
    """-2 log L + p log N, with N people."""
    return -2.0 * log_l + parameters * np.log(people)


def _a_fit(rng: np.random.Generator) -> tuple[float, int, int]:
    return float(-rng.uniform(200, 900)), int(rng.integers(4, 40)), int(rng.integers(30, 400))


BIC = Function(
    "bic",
    truth=bic,
    inputs=_a_fit,
    mistakes=[
        slip(
            lambda ll, p, n: -2 * ll + 2 * p, 1, "This is AIC, which charges two for a parameter, however many people."
        ),
        slip(lambda ll, p, n: -2 * ll - p * np.log(n), 1, "More parameters make it better here. They are to cost."),
        slip(lambda ll, p, n: 2 * ll + p * np.log(n), 2, "The likelihood has the wrong sign: it is minus two times."),
        slip(lambda ll, p, n: -ll + p * np.log(n), 2, "The likelihood counts once; it is *twice*, with a minus."),
        slip(lambda ll, p, n: -2 * ll + n * np.log(p), 2, "People and parameters are exchanged."),
        slip(lambda ll, p, n: -2 * ll + 0.5 * p * np.log(n), 2, "Each parameter costs log N on the scale of -2 log L."),
        slip(lambda ll, p, n: -2 * ll + p * np.log10(n), 3, "The logarithm is the natural one: np.log."),
        slip(lambda ll, p, n: -2 * ll, 1, "Parameters cost nothing here, and the largest model always wins."),
    ],
)

CHOSEN = Value(
    "chosen",
    truth=2.0,
    rtol=1e-9,
    mistakes=[
        Mistake(3.0, "Three kinds have the highest likelihood and the lowest AIC. By BIC they do not pay.", 2),
        Mistake(1.0, "One kind has the *largest* BIC of all, by far: the smallest is looked for.", 2),
        Mistake(
            lambda: bic(*given.FITS[2], given.PEOPLE),
            "This is the smallest BIC itself; asked for is the number of kinds that has it.",
            3,
        ),
    ],
)


def held(r: np.ndarray) -> np.ndarray:
    """(K,): how many people each class holds."""
    return np.sum(r, axis=0)


def _given_out(rng: np.random.Generator) -> tuple[np.ndarray]:
    classes = int(rng.integers(2, 5))
    return (rng.dirichlet(np.full(classes, 0.7), size=20),)


HELD = Function(
    "held",
    truth=held,
    inputs=_given_out,
    mistakes=[
        slip(lambda r: np.mean(r, axis=0), 3, "These are shares. How many *people* is that?"),
        slip(
            lambda r: np.bincount(np.argmax(r, axis=1), minlength=r.shape[1]).astype(float),
            3,
            "Everybody is counted for the likeliest class. Count each by r.",
        ),
        slip(lambda r: np.max(r, axis=0), 3, "This is the surest member of each class. Add all of them up."),
    ],
)


def ordered(beta: np.ndarray, share: np.ndarray) -> np.ndarray:
    """(R, K, 3): level, slope and share of each class, in every replicate the steepest class first."""
    return _by(lambda b, s: -b[:, :, 1])(beta, share)


def _by(rank: Callable, with_share: bool = True) -> Callable:
    def put_in_order(beta, share):
        order = np.argsort(rank(beta, share), axis=1, kind="stable")
        lines = np.take_along_axis(beta, order[:, :, None], axis=1)
        own = np.take_along_axis(share, order, axis=1) if with_share else share
        return np.concatenate([lines, own[:, :, None]], axis=2)

    return put_in_order


def _each_column(beta: np.ndarray, share: np.ndarray) -> np.ndarray:
    table = np.concatenate([beta, share[:, :, None]], axis=2)
    return -np.sort(-table, axis=1)


def _one_for_all(beta: np.ndarray, share: np.ndarray) -> np.ndarray:
    order = np.argsort(-beta[:, :, 1].mean(axis=0))
    return np.concatenate([beta[:, order], share[:, order, None]], axis=2)


def _replicates(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    beta, share = given.replicates(6, int(rng.integers(1_000_000)))
    return beta, share


ORDERED = Function(
    "Labels that switch",
    truth=ordered,
    inputs=_replicates,
    praise="A likelihood does not know names. Whoever averages over fits has to say which class is which, and by what.",
    mistakes=[
        slip(
            _by(lambda b, s: np.zeros(s.shape)),
            1,
            "Nothing is reordered: in some replicates the rising class is still the second.",
        ),
        slip(
            _by(lambda b, s: -s),
            1,
            "Ordered by their shares, which are nearly the same, so that chance decides. The slopes are far apart.",
        ),
        slip(
            _by(lambda b, s: b[:, :, 1]),
            2,
            "The steady class stands first. The steepest is to come first: sort by minus the slope.",
        ),
        slip(
            _by(lambda b, s: -b[:, :, 0]),
            2,
            "Ordered by the level, which is beta[:, :, 0]. The slope is beta[:, :, 1].",
        ),
        slip(
            _each_column,
            3,
            "Each column is sorted by itself, so that a class gets the level of one and the slope of the other. Find "
            "one order per replicate, and take everything by it.",
        ),
        slip(
            _by(lambda b, s: -b[:, :, 1], with_share=False),
            3,
            "Levels and slopes are in order, and the shares stay where they were: take them by the same order.",
        ),
        slip(
            _one_for_all,
            2,
            "One order for all replicates: they do not agree. Each has its own.",
        ),
    ],
)

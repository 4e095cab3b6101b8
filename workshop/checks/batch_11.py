"""Exercise 11.7: the noise that a loss takes for granted, and the batch size from which on nothing is told."""

from collections.abc import Callable

import numpy as np

from workshop.checks.engine import Function, Mistake, Value, slip

EIGENVALUES = np.array([17.2, 4.0, 0.78, 0.31])
TIMES, BETA = 24, 0.1


def nats(eigenvalues: np.ndarray, batch: int, times: int, beta: float) -> np.ndarray:
    """max(0, 1/2 log(l / v)) of each eigenvalue, v = beta B T / 2."""
    return _nats()(eigenvalues, batch, times, beta)


def _nats(
    variance: Callable = lambda batch, times, beta: 0.5 * beta * batch * times,
    end: Callable = lambda ratio: np.maximum(0.0, 0.5 * np.log(ratio)),
) -> Callable:
    return lambda eigenvalues, batch, times, beta: end(np.asarray(eigenvalues) / variance(batch, times, beta))


def _a_training(rng: np.random.Generator) -> tuple[np.ndarray, int, int, float]:
    times = int(rng.integers(8, 40))
    beta = float(rng.uniform(0.02, 0.3))
    batch = int(rng.integers(3, 60))
    level = 0.5 * beta * batch * times
    return level * np.array([9.0, 3.0, 1.5, 0.4]) * rng.uniform(0.8, 1.2, 4), batch, times, beta


NATS_OF_BATCH = Function(
    "nats",
    truth=nats,
    inputs=_a_training,
    mistakes=[
        slip(
            _nats(end=lambda ratio: 0.5 * np.log(ratio)),
            2,
            "Some are negative, and no divergence is: below the noise a direction sleeps, and says 0 nats.",
        ),
        slip(
            _nats(lambda batch, times, beta: 0.5 * beta * times),
            1,
            "The batch is missing. The squares are a *mean* over its people, the divergences a *sum* over them: with "
            "every person more the divergence counts more.",
        ),
        slip(
            _nats(lambda batch, times, beta: 0.5 * beta * batch),
            1,
            "The times are missing: the squares are a mean over them, too, and a likelihood is a sum.",
        ),
        slip(
            _nats(lambda batch, times, beta: beta * batch * times),
            2,
            "The half is missing: a Gaussian has the square over *twice* its variance.",
        ),
        slip(
            _nats(lambda batch, times, beta: 0.5 * batch * times),
            1,
            "beta is missing, by which the divergence is multiplied.",
        ),
        slip(
            _nats(lambda batch, times, beta: (0.5 * beta * batch * times) ** 2),
            2,
            "This is squared once too often: beta B T / 2 is the variance already.",
        ),
        slip(
            _nats(lambda batch, times, beta: 0.5 * beta * times / batch),
            1,
            "Turned round: with a larger batch the divergence counts *more*, and the noise that is implied is larger.",
        ),
        slip(
            _nats(end=lambda ratio: np.maximum(0.0, np.log(ratio))),
            3,
            "The half in front of the logarithm is missing.",
        ),
        slip(
            _nats(end=lambda ratio: np.maximum(0.0, 0.5 * np.log2(ratio))),
            3,
            "These are bits. Nats are natural logarithms.",
        ),
        slip(
            _nats(end=lambda ratio: 0.5 * np.log1p(ratio)),
            2,
            "With 1 + l / v nothing would ever sleep: that is what a likelihood tells where the noise is the data's "
            "own. Here the decoder's best answer has l - v of the variance, or nothing.",
        ),
    ],
)

LARGEST = Value(
    "largest",
    truth=float(np.floor(2 * EIGENVALUES[0] / (BETA * TIMES))),
    rtol=1e-9,
    mistakes=[
        Mistake(
            2 * EIGENVALUES[0] / (BETA * TIMES),
            "There is no such batch: at the next whole number above it everything sleeps.",
            3,
        ),
        Mistake(
            float(np.ceil(2 * EIGENVALUES[0] / (BETA * TIMES))),
            "There everything sleeps already: the noise lies above the largest eigenvalue.",
            3,
        ),
        Mistake(
            float(np.floor(EIGENVALUES[0] / (BETA * TIMES))),
            "A factor of two is missing: the noise is half of beta times batch times times.",
            2,
        ),
        Mistake(
            float(np.floor(2 * EIGENVALUES[-1] / (BETA * TIMES))),
            "This is where the *last* direction sleeps. The first one, of the largest eigenvalue, stays awake longest.",
            3,
        ),
        Mistake(
            float(np.floor(2 * EIGENVALUES[1] / (BETA * TIMES))),
            "This is where the second direction goes to sleep. The first one stays awake longest.",
            3,
        ),
        Mistake(
            float(np.floor(2 * EIGENVALUES.sum() / (BETA * TIMES))),
            "Directions sleep one by one: the noise is held against each eigenvalue, not against their sum.",
            3,
        ),
    ],
)

"""Small programs whose answers are known: does this JAX compute rightly on this computer?

jaxlib 0.10.2 gave wrong numbers without a word (see `xla.py`), and a later version may do so at
another place. So the setup and lesson 00 run these programs, each by the kit's own compiler options
and by a plain `jax.jit`, and compare them with closed forms, with NumPy, or with published vectors.
All of it takes about two seconds.

On a shell: `python -m mefit.base.known_answers` prints what is wrong and fails, or is silent where
all is right.
"""

import math
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import threefry_2x32

from .compiling import compiled

ROWS = 16_385  # one more than a power of two: what is done in blocks has a remainder
# Relative errors that pass. In float32 graphics processors round factors to ten bits.
SINGLE = 2e-3
DOUBLE = 1e-11
EXACT = 0.0

WAYS: dict[str, Callable] = {"the kit's programs": compiled, "jax.jit": jax.jit}
REMEDIES = {
    "the kit's programs": (
        "trust no fit on this computer, run `python3 start.py setup` in the kit's folder for the "
        "versions that it was tested with, and report it"
    ),
    "jax.jit": (
        "the kit's own programs are looked at apart, but do not trust a jax.jit of your own: "
        "restart Python, import mefit before anything computes, and leave XLA_FLAGS unset"
    ),
}


class KnownAnswer(NamedTuple):
    """A program, what goes in, and what must come out."""

    name: str
    program: Callable
    inputs: tuple[np.ndarray, ...]
    expected: np.ndarray
    tolerance: float
    """Relative, entry by entry."""


class Verdict(NamedTuple):
    """How many answers were asked for, and a sentence for each that was wrong."""

    asked: int
    wrong: tuple[str, ...]

    @property
    def text(self) -> str:
        """The verdict in a few words."""
        if self.wrong:
            return f"{len(self.wrong)} of {self.asked} wrong"
        return f"all {self.asked} right"


def examine(answers: tuple[KnownAnswer, ...] | None = None) -> Verdict:
    """Run every program in every way, and compare."""
    answers = known_answers() if answers is None else answers
    wrong = []
    for answer in answers:
        for way, compile_ in WAYS.items():
            fault = _fault(answer, compile_)
            if fault:
                version = f"JAX {jax.__version__}"
                wrong.append(f"{version} computes wrongly by {way}: {fault}; {REMEDIES[way]}.")
    return Verdict(len(answers) * len(WAYS), tuple(wrong))


def _fault(answer: KnownAnswer, compile_: Callable) -> str:
    """What is wrong with a program's answer; nothing where it is right."""
    try:
        result = np.asarray(compile_(answer.program)(*answer.inputs))
    except Exception as error:  # whatever it is, it is what a later program would stop with
        return f"{answer.name} stopped with {type(error).__name__}"
    expected = answer.expected
    if result.shape != expected.shape:
        return f"{answer.name} should have shape {expected.shape} and has {result.shape}"
    # Not "difference > ...", which NaN would pass.
    wrong = ~(np.abs(result - expected) <= answer.tolerance * np.abs(expected))
    if not np.any(wrong):
        return ""
    first = tuple(int(place[0]) for place in np.nonzero(wrong))
    place = f" at {', '.join(map(str, first))}" if first else ""
    return f"{answer.name} should be {expected[first]!s}{place} and is {result[first]!s}"


def known_answers() -> tuple[KnownAnswer, ...]:
    """The programs, each small and of a kind that the kit lives on."""
    return (
        _squares(ROWS, np.float64, EXACT),
        _squares(2 * ROWS - 1, np.float32, SINGLE),
        _network(),
        _cholesky(),
        _logsumexp(),
        _running_sums(),
        _scattered_sums(),
        _fibonacci(),
        _curvature(),
        _random_bits(),
    )


def _squares(rows: int, dtype: Any, tolerance: float) -> KnownAnswer:
    """The program of jax-ml/jax issue 39103: |I row|^2 where row i is (i, 0, 0), which is i^2."""

    def program(x: Any) -> Any:
        return jax.vmap(lambda row: jnp.sum((jnp.eye(3, dtype=x.dtype) @ row) ** 2))(x)

    i = np.arange(rows, dtype=float)
    x = np.stack([i, 0 * i, 0 * i], 1).astype(dtype)
    name = f"squares of whole numbers by matrices, in {np.dtype(dtype).name}"
    return KnownAnswer(name, program, (x,), i**2, tolerance)


def _network() -> KnownAnswer:
    """A network of one layer over many rows, squared and summed, against NumPy."""

    # Outputs near zero are differences of larger numbers: one is added so that all are judged by
    # the same measure.
    def program(x: Any, first: Any, last: Any) -> Any:
        return jax.vmap(lambda row: 1 + jnp.sum((last @ jnp.tanh(first @ row)) ** 2))(x)

    generator = np.random.default_rng(1)
    x = generator.normal(size=(ROWS, 4))
    first = generator.normal(size=(8, 4))
    last = generator.normal(size=(2, 8))
    expected = 1 + np.sum((np.tanh(x @ first.T) @ last.T) ** 2, 1)
    return KnownAnswer("a network over many rows", program, (x, first, last), expected, DOUBLE)


def _cholesky() -> KnownAnswer:
    """x of L L' x = b, with lower triangles L and solutions x of small whole numbers."""

    def program(matrix: Any, b: Any) -> Any:
        def one(matrix: Any, b: Any) -> Any:
            lower = jnp.linalg.cholesky(matrix)
            half = jax.scipy.linalg.solve_triangular(lower, b, lower=True)
            return jax.scipy.linalg.solve_triangular(lower, half, lower=True, trans=1)

        return jax.vmap(one)(matrix, b)

    count = 257
    i = np.arange(count, dtype=float)
    lower = np.tril(np.ones((count, 3, 3)))
    lower[:, 0, 0] = 1 + i % 5
    lower[:, 1, 1] = 2 + i % 3
    x = np.stack([1 + i % 7, 1 + i % 11, 1 + i % 13], 1)
    matrix = lower @ lower.transpose(0, 2, 1)
    b = np.einsum("nij,nj->ni", matrix, x)
    return KnownAnswer("linear equations by Cholesky factors", program, (matrix, b), x, DOUBLE)


def _logsumexp() -> KnownAnswer:
    """log sum_k k exp(shift) over k = 1 .. n, which is shift + log n (n + 1) / 2.

    exp(shift) itself overflows, or is zero.
    """
    count = 1000
    shift = np.array([1.0, 800.0, -800.0])
    x = np.log(np.arange(1.0, count + 1)) + shift[:, None]
    expected = shift + math.log(count * (count + 1) / 2)
    return KnownAnswer("logsumexp", jax.vmap(jax.nn.logsumexp), (x,), expected, DOUBLE)


def _running_sums() -> KnownAnswer:
    """1 + 2 + ... + n = n (n + 1) / 2."""
    n = np.arange(1.0, ROWS + 1)
    return KnownAnswer("running sums", jnp.cumsum, (n,), n * (n + 1) / 2, EXACT)


def _scattered_sums() -> KnownAnswer:
    """0, 1, ..., 7 m - 1 summed by their remainder r after 7: m r + 7 m (m - 1) / 2."""
    m = 2341
    i = np.arange(7 * m)
    remainder = np.arange(7.0)

    def program(value: Any, place: Any) -> Any:
        return jnp.zeros(7).at[place].add(value)

    expected = m * remainder + 7 * m * (m - 1) / 2
    return KnownAnswer("sums by group", program, (i.astype(float), i % 7), expected, EXACT)


def _fibonacci() -> KnownAnswer:
    """Fibonacci's numbers by a scan; the last is below 2^53, up to where float64 holds all whole
    numbers.
    """
    count = 75

    def program(start: Any) -> Any:
        def step(pair: Any, _: None) -> tuple[Any, Any]:
            return (pair[1], pair[0] + pair[1]), pair[0]

        return jax.lax.scan(step, (0 * start, start), None, length=count)[1]

    numbers = [0.0, 1.0]
    while len(numbers) < count:
        numbers.append(numbers[-1] + numbers[-2])
    expected = np.array(numbers)
    return KnownAnswer("Fibonacci's numbers by a scan", program, (np.array(1.0),), expected, EXACT)


def _curvature() -> KnownAnswer:
    """Second derivatives of exp(a b), forward over forward: exp(ab) times ((b^2, 1 + ab), (1 + ab,
    a^2)).
    """

    def program(points: Any) -> Any:
        return jax.vmap(jax.jacfwd(jax.jacfwd(lambda point: jnp.exp(point[0] * point[1]))))(points)

    a = np.linspace(0.5, 1.5, 101)
    b = np.linspace(2.0, 1.0, 101)
    mixed = 1 + a * b
    bracket = np.stack([np.stack([b**2, mixed], 1), np.stack([mixed, a**2], 1)], 1)
    expected = np.exp(a * b)[:, None, None] * bracket
    return KnownAnswer("second derivatives", program, (np.stack([a, b], 1),), expected, DOUBLE)


def _random_bits() -> KnownAnswer:
    """Threefry-2x32 of 20 rounds, which JAX's random numbers are made of.

    Source: the known answers of Random123, published with Salmon, Moraes, Dror and Shaw (2011),
    "Parallel random numbers: as easy as 1, 2, 3", SC '11.
    """
    ones = 0xFFFFFFFF
    key = np.array([[0, 0], [ones, ones], [0x13198A2E, 0x03707344]], np.uint32)
    counter = np.array([[0, 0], [ones, ones], [0x243F6A88, 0x85A308D3]], np.uint32)
    bits = np.array([[0x6B200159, 0x99BA4EFE], [0x1CB996FC, 0xBB002BE7], [0xC4923A9C, 0x483DF7A0]])

    def program(key: Any, counter: Any) -> Any:
        return jax.vmap(threefry_2x32)(key, counter).astype(float)

    expected = bits.astype(float)
    return KnownAnswer("random bits of a fixed key", program, (key, counter), expected, EXACT)


if __name__ == "__main__":
    sys.exit("\n".join(examine().wrong) or None)

"""Exercise 10.3, a mask: what is right in value and in slope, and what each mistake is called."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from workshop.checks.bound_10 import log_normal
from workshop.checks.derived import Derived
from workshop.checks.divergence_10 import LOG_2PI
from workshop.checks.engine import Wrong, called, slip


def masked(mean: Any, sigma: Any, y: Any, mask: Any) -> float:
    """log density of the rows that were seen."""
    seen = np.asarray(mask, bool)
    residual = np.asarray(y)[seen] - np.asarray(mean)[seen]
    return float(np.sum(log_normal(residual, float(sigma))))


_fillers = itertools.cycle((np.nan, 0.0))


def _with_gaps(rng: np.random.Generator) -> tuple:
    n = 8
    mask = np.ones(n, bool)
    mask[rng.choice(n, int(rng.integers(2, 5)), replace=False)] = False
    mean = rng.uniform(1.0, 6.0, n)
    y = mean + rng.normal(size=n)
    filled = np.where(mask, y, next(_fillers))
    return jnp.asarray(mean), jnp.asarray(rng.uniform(0.5, 0.9)), jnp.asarray(filled), jnp.asarray(mask)


def _numbers_of(f: Callable) -> Callable:
    """f of NumPy arrays and a float, for arguments of JAX."""
    return lambda m, s, y, mask: f(np.asarray(m), float(s), np.asarray(y), np.asarray(mask))


def _filled_by(fill: Callable) -> Callable:
    """All cells count, those that are missing with y = fill(m, y, mask)."""
    return _numbers_of(lambda m, s, y, mask: np.sum(log_normal(np.where(mask, y, fill(m, y, mask)) - m, s)))


def _derived_and_vmapped(answer: Callable) -> None:
    """The value is right; now its derivative, and one program for people with other gaps."""
    rng = np.random.default_rng(3)
    mean = jnp.asarray(rng.normal(size=(2, 5)))
    mask = jnp.asarray([[True, True, False, True, False], [False, True, True, True, True]])
    y = jnp.where(mask, mean + 0.3, jnp.nan)
    try:
        slopes = _slopes(answer, mean, y, mask)
    except jax.errors.NonConcreteBooleanIndexError:
        raise Wrong(
            "The value is right, but `y[mask]` has another length for everybody, so there is no one program for all "
            "(jax.vmap refuses it). Keep all rows, and choose with jnp.where.",
            1,
        ) from None
    except jax.errors.TracerArrayConversionError:
        raise Wrong("The value is right, but NumPy takes no derivatives: write jnp in place of np.", None) from None
    except Exception:
        called("Its derivative for two people at once (jax.vmap, jax.grad)", _slopes, answer, mean, y, mask)
        raise
    wanted = jnp.where(mask, 0.3 / 0.7**2, 0.0)
    if not np.all(np.isfinite(np.asarray(slopes[0]))):
        raise Wrong(
            "The value is right, and its derivative is not a number: where y is NaN the density is still computed, and "
            "zero times NaN is NaN. Put a number in the place of y *before* the density, by a first jnp.where.",
            3,
        )
    if not np.allclose(slopes[0], wanted):
        raise Wrong("The value is right, and its derivative with respect to the mean is not.", 3)


def _slopes(answer: Callable, mean: Any, y: Any, mask: Any) -> Any:
    return jax.vmap(jax.grad(answer, (0, 1)), (0, None, 0, 0))(mean, jnp.asarray(0.7), y, mask)


MASKED = Derived(
    "A cell that counts nothing",
    truth=masked,
    inputs=_with_gaps,
    afterwards=_derived_and_vmapped,
    praise="What was not seen is in neither the value nor any slope: nothing was filled in, and nothing was assumed.",
    mistakes=[
        slip(
            _numbers_of(lambda m, s, y, mask: np.sum(log_normal(y - m, s))),
            1,
            "The mask is not used. Where a missing cell holds NaN all is NaN; where it holds a 0, that counts as a "
            "measurement of zero.",
        ),
        slip(
            _numbers_of(lambda m, s, y, mask: np.nansum(log_normal(y - m, s))),
            1,
            "It leaves out NaN, not what the mask says: a missing cell may hold any number, such as 0.",
        ),
        slip(
            _numbers_of(lambda m, s, y, mask: np.sum(mask * log_normal(y - m, s))),
            2,
            "Multiplied by the mask: 0 times NaN is NaN. Choose with jnp.where in place of multiplying.",
        ),
        slip(
            _filled_by(lambda m, y, mask: 0.0),
            2,
            "Missing cells are filled with 0, and then count as measurements of zero. Fill them, and leave their "
            "density out as well: two jnp.where.",
        ),
        slip(
            _filled_by(lambda m, y, mask: m),
            2,
            "The distance of a missing cell is zero, but its constant still counts: as if it had been measured, and "
            "exactly on the curve. That is imputation by the model's mean, and makes sigma too small.",
        ),
        slip(
            _filled_by(lambda m, y, mask: np.mean(y[mask])),
            2,
            "Missing cells are filled with the mean of the others and then count as measured: that is mean imputation.",
        ),
        slip(
            _numbers_of(lambda m, s, y, mask: masked(m, s, y, mask) / np.sum(mask)),
            1,
            "The mean over the cells that were seen is taken. A log-likelihood is their sum.",
        ),
        slip(
            _numbers_of(lambda m, s, y, mask: masked(m, s, y, mask) / len(mask)),
            1,
            "The mean over all cells is taken. A log-likelihood is a sum.",
        ),
        slip(
            _numbers_of(lambda m, s, y, mask: masked(m, s, y, mask) * len(mask) / np.sum(mask)),
            1,
            "Scaled up to the number of planned cells, as if those missing were like the others. They say nothing.",
        ),
        slip(
            _numbers_of(lambda m, s, y, mask: masked(m, s, y, ~mask)),
            1,
            "The mask is turned round: True means that the cell was seen.",
        ),
        slip(
            _numbers_of(lambda m, s, y, mask: -0.5 * np.sum(((y - m)[mask] / s) ** 2)),
            3,
            "The constants of the normal density are missing: log sigma and log 2π / 2 for each cell that was seen.",
        ),
        slip(
            _numbers_of(lambda m, s, y, mask: masked(m, np.sqrt(s), y, mask)),
            3,
            "sigma is taken for a variance. It is an SD.",
        ),
        slip(
            _numbers_of(lambda m, s, y, mask: masked(m, s, y, mask) + 0.5 * LOG_2PI * np.sum(mask)),
            3,
            "log 2π / 2 is missing for each cell that was seen.",
        ),
    ],
)

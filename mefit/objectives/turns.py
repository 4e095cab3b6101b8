"""Is a grid fine enough? Turned about each mode, the same grid gives the same number where it is.

A turn is a number that the program is given, so that this costs one evaluation or two and compiles nothing.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from .objective import Objective, Term
from .quadrature import AGQ

# Radians. By both, of posteriors with a bend that were off by a tenth of a nat or more, 98 of 100 or more moved by a
# twentieth, with 5 to 40 nodes; by the first alone 90 to 98.
_TURNS = (np.pi / 4, np.pi / 6)
_FINE = 0.005  # nats: where the first turn changes nobody's by as much, the grid is fine for all


def with_turns(objective: Objective, terms: Term, batches: Any, run: Callable[[Any], Term]) -> Term:
    """The terms and, of a grid, the details `turned`: by how much each log L_i changes at most where it is turned.

    `run` gives the terms of batches; `terms` are those of `batches`. A single random effect has nothing to turn.
    """
    if not isinstance(objective, AGQ) or objective.nodes == 1 or terms.eta.shape[-1] < 2:
        return terms
    value = np.asarray(terms.value)
    moved = np.zeros(value.shape)
    for angle in _TURNS:
        other = np.asarray(run(_turned(batches, angle)).value)
        moved = np.maximum(moved, _difference(value, other))
        if np.max(moved) < _FINE:
            break
    details: Any = terms.details | {"turned": moved}
    return terms._replace(details=details)


def _turned(batches: Any, angle: float) -> Any:
    return batches._replace(extras=jax.tree.map(lambda turn: turn + angle, batches.extras))


def _difference(value: Float[np.ndarray, " N"], other: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """Where the log-likelihood is no number, others say so."""
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(np.abs(other - value), nan=0.0)

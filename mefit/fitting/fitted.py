"""What is known of any fit: what its questions and its report are asked of, apart from `Fit`
itself.

`Fit` has all of this. Python's type checker sees to it; nothing inherits from these classes.
"""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from jaxtyping import Float

from ..data.population import Population
from ..methods.method import Method
from ..methods.nuts.draws import Draws
from ..model.model import Model
from ..model.space import Space
from ..objectives.objective import Objective


@runtime_checkable
class Estimated(Protocol):
    """Where a fit ended: what was fitted to what, by which method, and what became of each free
    coordinate."""

    @property
    def model(self) -> Model: ...  # at the estimates

    @property
    def population(self) -> Population: ...

    @property
    def method(self) -> Objective | Method: ...

    @property
    def space(self) -> Space: ...  # what moved

    @property
    def key(self) -> Any: ...  # of `jax.random`, or None

    @property
    def fixed(self) -> tuple[str, ...]: ...  # names of the parameters held at their starting values

    @property
    # For each free coordinate: "", or why it was not estimated
    def status(self) -> tuple[str, ...]: ...

    @property
    def converged(self) -> bool: ...

    @property
    def message(self) -> str: ...  # how it ended

    @property
    def draws(self) -> Draws | None: ...  # from the posterior, where a sampler made them

    @property
    # Does the objective's curvature measure uncertainty?
    def has_standard_errors(self) -> bool: ...


@runtime_checkable
class Fitted(Estimated, Protocol):
    """A fit with the numbers that its report shows."""

    @property
    def remarks(self) -> tuple[str, ...]: ...

    @property
    def history(self) -> Sequence[Any]: ...  # a `Step` an iteration

    @property
    def evaluations(self) -> int: ...

    @property
    def log_prior(self) -> float: ...

    @property
    # (N, C), the probability of each class, of a mixture of experts
    def responsibilities(self) -> Float[np.ndarray, "N C"] | None: ...

    @property
    def minus_two_log_likelihood(self) -> float: ...

    @property
    def aic(self) -> float: ...

    @property
    def bic(self) -> float: ...

    @property
    def shrinkage(self) -> Float[np.ndarray, " K"]: ...

    @property
    def table(self) -> pd.DataFrame: ...

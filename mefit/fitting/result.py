"""`Fit`: what comes out of a fit."""

import dataclasses
import os
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from ..base.files import write_whole
from ..curves.encoding import AnyEncoder
from ..data.population import Population
from ..methods.classes import class_table
from ..methods.method import Method, Outcome
from ..model.densities import shrinkage_of
from ..model.model import Model, outcome_of
from ..model.parameters import has_network
from ..model.space import Space
from ..objectives.objective import AT_BOUNDARY, Objective
from .covariance import covariance_of
from .report import html_report, parameter_table, text_report
from .tables import estimates_frame, html_table, latex_table


@dataclasses.dataclass(frozen=True)
class Step:
    """One iteration as a person reads it."""

    iteration: int
    minus_two_objective: float
    measure: float  # how near the end is, by the method's own account
    measure_name: str  # what that is
    model: Model = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fit(Outcome):
    """A fitted model, and how it came about.

    `model` is the model at the estimates: a model like any other. `eta` (N, K) are the empirical Bayes estimates and
    `eta_covariance` (N, K, K) the covariance of their Gaussian approximation. `log_likelihood` is the method's own,
    every constant included; `log_prior` is what the priors add where there are any. `message` says how the fit ended
    and `ending` the same to a program, `remarks` what else is worth knowing, `history` holds every iteration (some of
    them, where a large network has many). In a notebook a fit shows itself as a table; `print(fit)` says the same in a
    terminal.
    """

    population: Population
    method: Objective | Method
    history: tuple[Step, ...]
    evaluations: int
    fixed: tuple[str, ...]
    key: Any = dataclasses.field(default=None, repr=False)

    @property
    def space(self) -> Space:
        """What moved: the parameters that were not held fixed, at their estimates."""
        return Space(self.model, self.fixed)

    @property
    def trajectory(self) -> pd.DataFrame | None:
        """SAEM's iterations, a row each, with a column for each number of the table; None for other methods."""
        return None if self.saem is None else self.saem.trajectory

    @property
    def curve(self) -> pd.DataFrame | None:
        """Training's objective and held-out log-likelihood by step; None for other methods."""
        return None if self.training is None else self.training.curve

    @property
    def encoder(self) -> AnyEncoder | None:
        """The trained encoder, which answers q(eta | y) of any subject; None for other methods."""
        return None if self.amortised is None else self.amortised.encoder

    @property
    def classes(self) -> pd.DataFrame | None:
        """The classes of a mixture of experts, a row each; None for other models.

        `share` is the mean of its responsibilities over subjects, `assigned` how many subjects it is the most probable
        class of, `certainty` the mean of their responsibilities. `attrs["entropy"]` is 1 where every class is certain.
        """
        return None if self.responsibilities is None else class_table(np.asarray(self.responsibilities))

    def outcome(self, name: str) -> "Fit":
        """This fit seen through one of several outcomes, for diagnostics and pictures; its numbers stay those of all.

        ValueError where there is no outcome of this name.
        """
        population = self.population.outcome(name)
        draws = self.draws
        if draws is not None:
            draws = dataclasses.replace(draws, models=outcome_of(draws.models, name))
        return dataclasses.replace(self, model=outcome_of(self.model, name), population=population, draws=draws)

    @property
    def minus_two_log_likelihood(self) -> float:
        """-2 log L with every constant; subtract n log(2 pi) for NONMEM's objective function value."""
        return -2.0 * self.log_likelihood

    @property
    def n_parameters(self) -> int:
        """The number of free parameters that the method estimates, those at a boundary included."""
        return sum(status in ("", AT_BOUNDARY) for status in self.status)

    @property
    def aic(self) -> float:
        """Akaike's criterion, -2 log L + 2 p."""
        return self.minus_two_log_likelihood + 2.0 * self.n_parameters

    @property
    def bic(self) -> float:
        """Schwarz's criterion, -2 log L + p log n, with n the number of observations."""
        return self.minus_two_log_likelihood + self.n_parameters * float(np.log(self.population.n_observations))

    @property
    def has_standard_errors(self) -> bool:
        """Does the objective's curvature measure uncertainty? Not where it is no likelihood of theta, or where a
        network's weights are free: many sets of weights give the same curves."""
        return self.method.likelihood and not has_network(self.model, self.fixed)

    @cached_property
    def covariance(self) -> Float[np.ndarray, "P P"]:
        """Covariance of the free coordinates: inverse observed information, NaN for what was not estimated.

        NaN everywhere where the information has no inverse; the report then says why. Raises ValueError for a method
        whose objective is not a likelihood of theta.
        """
        return covariance_of(self).matrix

    @cached_property
    def shrinkage(self) -> Float[np.ndarray, " K"]:
        """Shrinkage of each eta, 1 - SD(EBE) / omega, with the SD over subjects (divisor N - 1).

        NaN of a mixture of experts, whose subjects each have random effects in one class only.
        """
        if self.responsibilities is not None:
            return np.full(np.shape(self.eta)[1], np.nan)
        return shrinkage_of(self.model, np.asarray(self.eta))

    @cached_property
    def table(self) -> pd.DataFrame:
        """The parameters as a pandas DataFrame: estimate, unit, standard error, relative standard error."""
        return parameter_table(self)

    def to_frame(self, level: float | int = 0.95) -> pd.DataFrame:
        """The estimates as a data frame, a row a number: `estimate`, `unit`, `se`, `rse` (percent), the interval `low`
        to `high`, `shrinkage` (a share), `kind` and `remark`.

        The interval is made on an unbounded scale of each number and carried back; after NUTS it is that of the draws.
        ValueError for a `level` that is no share.
        """
        return estimates_frame(self, level)

    def to_csv(self, path: str | os.PathLike, level: float | int = 0.95) -> None:
        """Write `to_frame` as a CSV file, with all digits. OSError for a place that cannot be written to."""
        frame = self.to_frame(level)
        write_whole(path, lambda draft: frame.to_csv(draft))

    def to_latex(self, path: str | os.PathLike | None = None, level: float | int = 0.95) -> str:
        """The estimates as a LaTeX table (package booktabs), rounded; written to `path` where there is one."""
        return _handed_out(latex_table(self, level), path)

    def to_html(self, path: str | os.PathLike | None = None, level: float | int = 0.95) -> str:
        """The estimates as an HTML page of one table, rounded, that Word and LibreOffice open as a table; written to
        `path` where there is one."""
        return _handed_out(html_table(self, level), path)

    def __str__(self) -> str:
        return text_report(self)

    def _repr_html_(self) -> str:
        return html_report(self)


def _handed_out(text: str, path: str | os.PathLike | None) -> str:
    if path is not None:
        write_whole(path, lambda draft: draft.write_text(text, encoding="utf-8"))
    return text

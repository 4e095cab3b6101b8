"""Draws from a posterior, and their diagnosis."""

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpyro.diagnostics import effective_sample_size, gelman_rubin
from scipy.special import ndtri

from ...model.model import Model, draw_of
from ...model.numbers import eta_names


@dataclasses.dataclass(frozen=True)
class Draws:
    """S draws from the posterior, one chain after the other.

    `models` is a model whose arrays have a leading axis of length S (for `equinox.filter_vmap`), `eta` (S, N, K) the
    random effects, `diverged` (S,) marks where a trajectory went astray. `frame` has a column for the chain and one
    for each number of the table of parameters, `summary` a row: mean, sd, 2.5%, 50%, 97.5%, r_hat, ess.
    """

    models: Model = dataclasses.field(repr=False)
    eta: Float[np.ndarray, "S N K"] = dataclasses.field(repr=False)
    diverged: np.ndarray = dataclasses.field(repr=False)
    frame: pd.DataFrame
    leapfrogs: np.ndarray | None = dataclasses.field(default=None, repr=False)  # (C, n): steps of each trajectory

    def __len__(self) -> int:
        return len(self.eta)

    def model(self, i: int) -> Model:
        """The model at draw i."""
        return draw_of(self.models, i)

    @cached_property
    def summary(self) -> pd.DataFrame:
        values = self.frame.drop(columns="chain")
        low, middle, high = np.quantile(values, [0.025, 0.5, 0.975], axis=0)
        r_hat, ess = diagnose(values.to_numpy().reshape(int(self.frame.chain.max()), -1, values.shape[1]))
        columns = {"mean": values.mean(), "sd": values.std(), "2.5%": low, "50%": middle, "97.5%": high}
        return pd.DataFrame(columns | {"r_hat": r_hat, "ess": ess}).rename_axis("parameter")

    def to_arviz(self, subjects: Sequence[Any] | None = None) -> Any:
        """The draws for ArviZ: `InferenceData`, or a `DataTree` where its version has that.

        The group `posterior` has each number of the table, (chain, draw), and `eta` (chain, draw, subject, effect);
        `sample_stats` has `diverging`. `subjects` names the subjects, as `fit.population.ids` does; else they are
        numbered. ImportError where ArviZ is not installed.
        """
        try:
            import arviz
        except ImportError:
            raise ImportError("to_arviz needs ArviZ, which is not installed: pip install arviz.") from None
        chains = int(self.frame.chain.max())
        names = list(range(self.eta.shape[1])) if subjects is None else list(subjects)
        posterior = {
            str(name): column.to_numpy().reshape(chains, -1)
            for name, column in self.frame.drop(columns="chain").items()
        }
        posterior["eta"] = np.asarray(self.eta).reshape(chains, -1, *self.eta.shape[1:])
        stats = {"diverging": np.asarray(self.diverged, bool).reshape(chains, -1)}
        axes = {
            "coords": {"subject": names, "effect": list(eta_names(self.model(0)))},
            "dims": {"eta": ["subject", "effect"]},
        }
        if int(arviz.__version__.split(".")[0]) >= 1:  # groups by name, and a tree comes out
            return arviz.from_dict({"posterior": posterior, "sample_stats": stats}, **axes)
        return arviz.from_dict(posterior=posterior, sample_stats=stats, **axes)


def diagnose(values: Float[np.ndarray, "C n Q"]) -> tuple[Float[np.ndarray, " Q"], Float[np.ndarray, " Q"]]:
    """R-hat and bulk effective sample size of Q quantities, from ranks and split chains; NaN with under four draws.

    Source: Vehtari, Gelman, Simpson, Carpenter and Bürkner (2021), Bayesian Anal. 16.
    """
    from scipy.stats import rankdata  # it takes a third of a second to import

    half = values.shape[1] // 2
    size = values.shape[2]
    if half < 2 or not size:
        return np.full(size, np.nan), np.full(size, np.nan)
    split = np.concatenate([values[:, :half], values[:, -half:]])

    def scores(v):
        flat = v.reshape(-1, size)
        return ndtri((rankdata(flat, axis=0) - 0.375) / (len(flat) + 0.25)).reshape(v.shape)

    folded = np.abs(split - np.median(split, axis=(0, 1)))
    with np.errstate(all="ignore"):  # of what never moved both are NaN
        r_hat = np.maximum(gelman_rubin(scores(split)), gelman_rubin(scores(folded)))
        return r_hat, effective_sample_size(scores(split))

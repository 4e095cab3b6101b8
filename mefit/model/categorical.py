"""Responses that are whole numbers: counts, yes or no, categories."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Float
from numpyro.distributions import constraints


def is_discrete(density: dist.Distribution) -> bool:
    """Are the responses counts or categories, by the support of their density?"""
    return density.support is not None and bool(density.support.is_discrete)


def is_categorical(density: dist.Distribution) -> bool:
    """Are the responses categories, whose numbers are names only, so that they have no mean?"""
    if isinstance(density, dist.MixtureSameFamily):
        return is_categorical(density.component_distribution)
    if isinstance(density, dist.MixtureGeneral):
        return any(is_categorical(component) for component in density.component_distributions)
    if isinstance(getattr(density, "base_dist", None), dist.Distribution):
        return is_categorical(density.base_dist)
    return isinstance(density, dist.CategoricalProbs | dist.CategoricalLogits)


def log_prob(density: dist.Distribution, y: Float[Array, " n"]) -> Float[Array, " n"]:
    """log p(y) of each row, for responses that the data hold as floating-point numbers.

    A discrete density is given integers, which NumPyro's categories need. Where a response is no whole number, or
    lies outside the support, it is minus infinity.
    """
    if not is_discrete(density):
        return density.log_prob(y)
    whole = jnp.round(y).astype(int)
    possible = (whole == y) & density.support(whole)
    return jnp.where(possible, density.log_prob(whole), -jnp.inf)


def mean_of(density: dist.Distribution, who: str) -> Any:
    """The mean of each row; ValueError for categories, which have none. `who` returns the density."""
    refuse_categories(density, who)
    return density.mean


def refuse_categories(density: dist.Distribution, who: str) -> None:
    """Raise ValueError where the responses are categories, for what works with means."""
    if is_categorical(density):
        raise ValueError(
            f"{who} returns {_name(density)}, and a category has no mean: look at the probabilities "
            "model.observations(eta, subject).probs, or at the categories that mf.simulate draws."
        )


def impossible_response(density: dist.Distribution, y: Float[Array, " n"], observed: Any) -> tuple[int, str] | None:
    """The first observed row whose response a discrete density cannot give, and what it can; None where all are fine.

    Of values, outside of a compiled program.
    """
    if not is_discrete(density):
        return None
    responses = np.asarray(y)
    whole = np.round(responses).astype(int)
    inside = np.broadcast_to(np.asarray(density.support(whole)), whole.shape)
    wrong = np.flatnonzero(np.asarray(observed) & ~(inside & (whole == responses)))
    if not wrong.size:
        return None
    row = int(wrong[0])
    return row, f"{_name(density)} takes {_possible(density.support, whole.shape, row)}"


def _name(density: dist.Distribution) -> str:
    """The name of a density as it is written in a model."""
    name = type(density).__name__
    return name.removesuffix("Probs").removesuffix("Logits")


def _possible(support: Any, shape: tuple[int, ...], row: int) -> str:
    """The values that a discrete support holds for one row."""

    def bound(name: str) -> int:
        return int(np.broadcast_to(np.asarray(getattr(support, name)), shape)[row])

    if support is constraints.boolean:
        return "0 or 1"
    if hasattr(support, "lower_bound") and hasattr(support, "upper_bound"):
        return f"whole numbers from {bound('lower_bound')} to {bound('upper_bound')}"
    if hasattr(support, "lower_bound"):
        return f"whole numbers from {bound('lower_bound')} on"
    return "whole numbers of its support"

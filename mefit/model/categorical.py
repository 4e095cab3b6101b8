"""Responses that are whole numbers: counts, yes or no, categories."""

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array, Float, Int


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


def refuse_categories(density: dist.Distribution, who: str) -> None:
    """Raise ValueError where the responses are categories, for what works with means."""
    if is_categorical(density):
        raise ValueError(
            f"{who} returns {name_of(density)}, and a category has no mean: look at the probabilities "
            "model.observations(eta, subject).probs, or at the categories that mf.simulate draws."
        )


def name_of(density: dist.Distribution) -> str:
    """The name of a density as it is written in a model."""
    name = type(density).__name__
    return name.removesuffix("Probs").removesuffix("Logits")


def log_prob_of_grades(density: dist.OrderedLogistic, grade: Int[Array, " n"]) -> Float[Array, " n"]:
    """log p of grades between cut points a < b, logistic(b - x) - logistic(a - x), with its digits however far x is.

    The difference is logistic(b - x) logistic(x - a) (1 - exp(a - b)). NumPyro takes it of rounded probabilities, whose
    logarithm is minus infinity for a grade that the predictor x makes unlikely.
    """
    shape = jnp.broadcast_shapes(jnp.shape(density.predictor), grade.shape)
    last = density.cutpoints.shape[-1]
    cuts = jnp.broadcast_to(density.cutpoints, (*shape, last))

    def cut(place: Array) -> Array:
        place = jnp.broadcast_to(jnp.clip(place, 0, last - 1), shape)
        return jnp.take_along_axis(cuts, place[..., None], axis=-1)[..., 0]

    a = cut(grade - 1) - density.predictor
    b = cut(grade) - density.predictor
    between = (grade > 0) & (grade < last)
    gap = jnp.where(between, jnp.log(-jnp.expm1(jnp.where(between, a - b, -1.0))), 0.0)
    below = jnp.where(grade < last, jax.nn.log_sigmoid(b), 0.0)
    above = jnp.where(grade > 0, jax.nn.log_sigmoid(-a), 0.0)
    return below + above + gap

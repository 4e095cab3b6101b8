"""Responses that are whole numbers: counts, yes or no, categories."""

import numpyro.distributions as dist


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

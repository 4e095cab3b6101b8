"""The covariance of a law of several numbers, exact or refused."""

import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array, Float

from .normals import along_the_diagonal, gaussian_blocks


def joint_covariance(law: dist.Distribution, who: str) -> Float[Array, "K K"]:
    """The covariance of all numbers of one draw from a law, in their order.

    Entries of its batch are independent of each other, so their covariances stand along the diagonal. A mixture has
    Cov = sum_c p_c (Cov_c + m_c m_c') - m m', with the mean m = sum_c p_c m_c (the law of total covariance).
    ValueError, which names `who` returns the law, where the covariance is not known in closed form.
    """
    blocks = _covariances(law, who)
    size = blocks.shape[-1]
    return along_the_diagonal(blocks.reshape(-1, size, size))


def _covariances(law: dist.Distribution, who: str) -> Float[Array, "..."]:
    """The covariance (..., E, E) of the E numbers of an event, for each entry of the batch."""
    if isinstance(law, dist.MaskedDistribution):
        return _covariances(law.base_dist, who)
    if isinstance(law, dist.ExpandedDistribution):
        covariance = _covariances(law.base_dist, who)
        return jnp.broadcast_to(covariance, (*law.batch_shape, *covariance.shape[-2:]))
    if isinstance(law, dist.Independent):
        blocks = _covariances(law.base_dist, who)
        size = blocks.shape[-1]
        return along_the_diagonal(blocks.reshape(*law.batch_shape, -1, size, size))
    if isinstance(law, dist.MixtureSameFamily | dist.MixtureGeneral):
        if law.event_shape:
            return _of_mixture(law, who)
    gaussian = gaussian_blocks(law)
    if gaussian is not None:
        return gaussian.covariance
    if not law.event_shape:  # of one number
        return jnp.broadcast_to(_variance(law, who), law.batch_shape)[..., None, None]
    if isinstance(law, dist.CirculantNormal):  # for some others the attribute is that of a scale, or of a step
        return law.covariance_matrix
    if isinstance(law, dist.MultivariateStudentT):  # what NumPyro calls its covariance matrix is that of its scales
        degrees = jnp.asarray(law.df)[..., None, None]
        factor = jnp.where(degrees > 2.0, degrees / jnp.where(degrees > 2.0, degrees - 2.0, 1.0), jnp.inf)
        return factor * law.covariance_matrix
    raise _unknown(law, who)


def _of_mixture(law: dist.MixtureSameFamily | dist.MixtureGeneral, who: str) -> Float[Array, "..."]:
    """The covariance of a mixture of laws of vectors, by the law of total covariance."""
    if isinstance(law, dist.MixtureSameFamily):
        inner = _covariances(law.component_distribution, who)
    else:
        covariances = [_covariances(part, who) for part in law.component_distributions]
        inner = jnp.stack(jnp.broadcast_arrays(*covariances), axis=-3)
    if len(law.event_shape) > 1:
        raise _unknown(law, who)
    share = law.mixing_distribution.probs
    mean = law.component_mean
    apart = mean - jnp.sum(share[..., None] * mean, axis=-2, keepdims=True)
    total = inner + apart[..., :, None] * apart[..., None, :]
    return jnp.sum(share[..., None, None] * total, axis=-3)


def _variance(law: dist.Distribution, who: str) -> Array:
    try:
        return law.variance
    except NotImplementedError as error:
        raise _unknown(law, who) from error


def _unknown(law: dist.Distribution, who: str) -> ValueError:
    return ValueError(
        f"{who} returns {type(law).__name__}, whose covariance is not known in closed form: "
        "use a Normal, a MultivariateNormal or a mixture of them where a covariance is needed."
    )

"""What is Gaussian, however it is written: one law has many spellings, and all get the same closed forms.

`Normal`, `Normal(...).to_event(1)`, `Independent`, an expanded one, `MultivariateNormal` by covariance, precision or
Cholesky factor, `LowRankMultivariateNormal`, and what an affine transform makes of any of these.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.linalg import solve_triangular
from jax.scipy.special import logit
from jaxtyping import Array, Bool, Float, PRNGKeyArray
from numpyro.distributions import transforms

from .rows import with_own_batch


def along_the_diagonal(blocks: Float[Array, "*batch B E E"]) -> Float[Array, "*batch BE BE"]:
    """Blocks (..., B, E, E) as one matrix (..., B E, B E) with zeros elsewhere."""
    *batch, count, size, _ = blocks.shape
    same = jnp.eye(count, dtype=bool)[:, None, :, None]
    whole = jnp.where(same, blocks[..., :, :, None, :], 0.0)  # a product would make NaN of an infinite variance
    return whole.reshape(*batch, count * size, count * size)


# ---------------------------------------------------------------- laws of several numbers


class GaussianLaw(NamedTuple):
    """Mean and Cholesky factor L, covariance L L', of the E numbers of an event, for each entry of a batch."""

    mean: Float[Array, "*batch E"]
    lower: Float[Array, "*batch E E"]

    @property
    def covariance(self) -> Float[Array, "*batch E E"]:
        """L L'."""
        return self.lower @ jnp.swapaxes(self.lower, -1, -2)


def gaussian_law(law: dist.Distribution) -> GaussianLaw | None:
    """Mean (K,) and Cholesky factor (K, K) of all numbers of one draw, in their order; None where it is not Gaussian.

    Whether it is shows in how the law is built, never in its values, so that it can be asked while JAX is tracing.
    """
    each = gaussian_blocks(with_own_batch(law))
    if each is None:
        return None
    size = each.mean.shape[-1]
    return GaussianLaw(each.mean.reshape(-1), along_the_diagonal(each.lower.reshape(-1, size, size)))


def gaussian_blocks(law: dist.Distribution) -> GaussianLaw | None:
    """The same for every entry of the law's batch; None where it is not Gaussian."""
    if isinstance(law, dist.Normal):
        loc = jnp.broadcast_to(law.loc, law.batch_shape)
        return GaussianLaw(loc[..., None], jnp.broadcast_to(law.scale, law.batch_shape)[..., None, None])
    if isinstance(law, dist.MultivariateNormal | dist.LowRankMultivariateNormal):
        size = law.event_shape[0]
        lower = jnp.broadcast_to(law.scale_tril, (*law.batch_shape, size, size))
        return GaussianLaw(jnp.broadcast_to(law.loc, law.shape()), lower)
    if not isinstance(law, dist.Independent | dist.ExpandedDistribution | dist.TransformedDistribution):
        return None
    inner = gaussian_blocks(law.base_dist)
    if inner is None:
        return None
    if isinstance(law, dist.ExpandedDistribution):
        size = inner.mean.shape[-1]
        mean = jnp.broadcast_to(inner.mean, (*law.batch_shape, size))
        return GaussianLaw(mean, jnp.broadcast_to(inner.lower, (*law.batch_shape, size, size)))
    if isinstance(law, dist.Independent):
        return _as_one_event(inner, law.batch_shape)
    return _affine(inner, law)


def _as_one_event(inner: GaussianLaw, batch: tuple[int, ...]) -> GaussianLaw:
    """Entries of a batch, independent of each other, as the numbers of one event."""
    size = inner.mean.shape[-1]
    mean = inner.mean.reshape(*batch, -1)
    return GaussianLaw(mean, along_the_diagonal(inner.lower.reshape(*batch, -1, size, size)))


def _affine(inner: GaussianLaw, law: dist.TransformedDistribution) -> GaussianLaw | None:
    """What affine transforms make of a Gaussian; None for other transforms."""
    mean, lower = inner
    for part in _parts(law.transforms):
        if isinstance(part, transforms.LowerCholeskyAffine):
            mean = part(mean)
            lower = part.scale_tril @ lower
        elif is_elementwise_affine(part):
            moved, factor = moved_elementwise(part, mean.reshape(law.base_dist.shape()))
            mean = moved.reshape(mean.shape)
            lower = factor.reshape(mean.shape)[..., None] * lower
        else:
            return None
    signs = jnp.where(jnp.diagonal(lower, axis1=-2, axis2=-1) < 0, -1.0, 1.0)  # a factor below zero turns a column
    return GaussianLaw(mean, lower * signs[..., None, :])


def _parts(steps: Any) -> list[Any]:
    """Transforms one after the other, those that are made of others taken apart."""
    parts = []
    for step in steps:
        if isinstance(step, transforms.ComposeTransform):
            parts += _parts(step.parts)
        elif isinstance(step, transforms.IndependentTransform):
            parts += _parts([step.base_transform])
        else:
            parts.append(step)
    return parts


def is_elementwise_affine(part: Any) -> bool:
    """Is a transform x -> a + b x, number by number, or the inverse of one?"""
    inner = getattr(part, "_inv", part) if type(part).__name__ == "_InverseTransform" else part
    return isinstance(inner, transforms.AffineTransform | transforms.IdentityTransform)


def moved_elementwise(part: Any, x: Array) -> tuple[Array, Array]:
    """a + b x and the factor b, each in the shape of x."""
    moved, factor = jax.jvp(part, (x,), (jnp.ones_like(x),))
    return moved, factor


# ---------------------------------------------------------------- densities of rows


class NormalRows(NamedTuple):
    """y = curve(w) with w ~ N(loc, scale^2), row by row; without a curve y is w itself."""

    loc: Array
    scale: Array
    curve: Any = None  # an ExpTransform or a SigmoidTransform: without a parameter

    def working(self, y: Array, observed: Bool[Array, " n"]) -> tuple[Array, Array]:
        """w of each row, and the sum of log |dw / dy| over those that were observed; w = 0 where none was."""
        if self.curve is None:
            return y, jnp.zeros(())
        w = jnp.where(observed, self.curve.inv(jnp.where(observed, y, self.curve(jnp.zeros(())))), 0.0)
        return w, -jnp.sum(jnp.where(observed, self.curve.log_abs_det_jacobian(w, y), 0.0))

    def bound(self, y: Array) -> Array:
        """w where y is one end of an interval, which may lie at the end of what y can be, or beyond it."""
        if self.curve is None:
            return y
        if isinstance(self.curve, transforms.ExpTransform):
            return jnp.where(y > 0, jnp.log(jnp.where(y > 0, y, 1.0)), -jnp.inf)
        inside = (y > 0) & (y < 1)
        return jnp.where(inside, logit(jnp.where(inside, y, 0.5)), jnp.where(y > 0, jnp.inf, -jnp.inf))


def normal_rows(density: dist.Distribution) -> NormalRows | None:
    """The normal density behind one that is normal, log-normal or logit-normal, however written; None for others."""
    density = unwrapped(density)
    if isinstance(density, dist.Normal):
        return NormalRows(density.loc, density.scale)
    if not isinstance(density, dist.TransformedDistribution):
        return None
    inner = normal_rows(density.base_dist)
    for part in _parts(density.transforms):
        if inner is None or inner.curve is not None:
            return None  # what follows a curve may have parameters of its own
        if is_elementwise_affine(part):
            shape = jnp.broadcast_shapes(jnp.shape(inner.loc), density.batch_shape)
            loc, factor = moved_elementwise(part, jnp.broadcast_to(inner.loc, shape))
            inner = NormalRows(loc, jnp.abs(factor) * inner.scale)
        elif isinstance(part, transforms.ExpTransform | transforms.SigmoidTransform):
            inner = inner._replace(curve=part)
        else:
            return None
    return inner


def unwrapped(density: dist.Distribution) -> dist.Distribution:
    """The density of one row, without wrappers that only say its shape."""
    while isinstance(density, dist.Independent | dist.ExpandedDistribution):
        density = density.base_dist
    return density


# ---------------------------------------------------------------- rows that depend on each other


class CorrelatedRows(NamedTuple):
    """Gaussian rows of one subject that depend on each other, such as an autoregressive error."""

    mean: Float[Array, " n"]
    covariance: Float[Array, "n n"]

    def seen(self, y: Array, mask: Bool[Array, " n"]) -> tuple[Array, Array, Array]:
        """y, mean and Cholesky factor; rows that are not in the mask are y about y with variance 1, apart from all."""
        both = mask[:, None] & mask[None, :]
        lower = jnp.linalg.cholesky(jnp.where(both, self.covariance, jnp.eye(mask.size)))
        return y, jnp.where(mask, self.mean, y), lower

    def log_prob(self, y: Array, mask: Bool[Array, " n"]) -> Float[Array, ""]:
        """log p of the rows in the mask: their marginal, which leaves the others out."""
        y, mean, lower = self.seen(y, mask)
        w = solve_triangular(lower, y - mean, lower=True)
        log_det = jnp.sum(jnp.log(jnp.diagonal(lower)))
        return -0.5 * (jnp.sum(mask) * jnp.log(2.0 * jnp.pi) + w @ w) - log_det

    def sample(self, key: PRNGKeyArray, mask: Bool[Array, " n"]) -> Float[Array, " n"]:
        """One draw of the rows in the mask."""
        _, mean, lower = self.seen(jnp.zeros(mask.shape), mask)
        return mean + lower @ jax.random.normal(key, mask.shape)


def correlated_rows(density: dist.Distribution) -> CorrelatedRows | None:
    """A Gaussian law of all rows together; None for a density with an entry a row, and for other laws."""
    if len(density.event_shape) != 1 or density.batch_shape:
        return None
    law = gaussian_blocks(density)
    if law is None:
        return None
    # The matrix that was given, where one was: of repeated times it may be singular, and its factor not a number.
    given = vars(density).get("covariance_matrix") if isinstance(density, dist.MultivariateNormal) else None
    return CorrelatedRows(law.mean, law.covariance if given is None else given)

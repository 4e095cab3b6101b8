"""A learned response to a unit dose: the curve of a decoder for kinetics that no template describes."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from ..data.by_outcome import one_outcome
from ..data.population import Population
from .bases import Basis, LevellingOff, latest_time_since_dose
from .mlp import MLP

_WIDE = 1.5  # SDs of random effects to a unit of the networks' inputs
_TYPICAL = 3.0  # the terminal slope at the start, in units of one over the span


class UnitResponse(eqx.Module):
    """The concentration that a unit dose leaves after a time s, for a person with random effects eta:

        log g(s) = level + f(eta, B(s)) - exp(r(eta)) s / span,

    f and r multilayer perceptrons, B(s) a `basis`. Where B levels off the curve ends in an exponential, so areas to
    infinity are finite. It is positive whatever the weights. The doses of a record add up by `mf.pk.superposed`:

        class Decoder(mf.Model):
            response: mf.networks.UnitResponse = mf.weights(prior=mf.networks.L2(0.1))
            sigma: Array = mf.positive()

            def random_effects(self):
                return dist.Normal(jnp.zeros(3), 1.0)

            def observations(self, eta, subject):
                c = mf.pk.superposed(lambda s: self.response(s, eta), subject)
                return dist.LogNormal(jnp.log(c), self.sigma)

        model = Decoder(response=mf.networks.UnitResponse.of(population, effects=3), sigma=0.3)

    That is right where kinetics are linear in the dose. Where they are not, put a network into `mf.dynamics.solve`.

    **Arguments**

    - `effects`: K, the number of random effects, of SD about one.
    - `basis`: functions of the time since a dose; `LevellingOff`, and what joins it by +.
    - `span`: a time to which most has happened; it gives the terminal slope its unit.
    - `level`: the logarithm of a typical concentration over the dose.
    - `hidden`, `seed`: layers of f, and the seed of the weights at the start.

    **Raises:** ValueError for fewer than one random effect, or a span that is not positive.
    """

    net: MLP
    slope: MLP
    basis: Basis
    level: float = eqx.field(static=True)
    span: float = eqx.field(static=True)

    def __init__(
        self,
        effects: int,
        basis: Basis,
        span: float | int,
        level: float | int = 0.0,
        *,
        hidden: Sequence[int] = (32, 32),
        seed: int = 0,
    ):
        if effects < 1 or not 0.0 < span < np.inf:
            raise ValueError(
                f"UnitResponse of {effects} random effects, span {span:g}: one or more, and a positive span."
            )
        spread = [_WIDE] * effects + [1.0] * basis.size
        self.net = MLP(effects + basis.size, hidden, spread=spread, seed=seed)
        self.slope = MLP(effects, (8,), spread=_WIDE, shift=np.log(_TYPICAL), link=jnp.exp, seed=seed + 1)
        self.basis = basis
        self.level = float(level)
        self.span = float(span)

    @classmethod
    def of(
        cls,
        population: Population,
        effects: int,
        basis: Basis | None = None,
        *,
        logarithms: bool = False,
        hidden: Sequence[int] = (32, 32),
        seed: int = 0,
    ) -> "UnitResponse":
        """A response whose span, level and, unless it is given, basis are those of a population: so no unit matters.

        The span is the latest time since a dose, the level the median of log(y / what was given until then).
        `logarithms` says that y are logarithms of concentrations.

        **Raises:** ValueError where nobody was seen after a dose, or all responses there are zero or less.
        """
        return cls(
            effects,
            LevellingOff.over(population) if basis is None else basis,
            latest_time_since_dose(population),
            _level(population, logarithms),
            hidden=hidden,
            seed=seed,
        )

    def log(self, since: Float[ArrayLike, " m"], eta: Float[Array, " K"]) -> Float[Array, " m"]:
        """log g at times (m,) since the dose."""
        s = jnp.asarray(since, float)
        bent = jax.vmap(lambda row: self.net(eta, row))(self.basis(s))
        return self.level + bent - self.slope(eta) * s / self.span

    def __call__(self, since: Float[ArrayLike, " m"], eta: Float[Array, " K"]) -> Float[Array, " m"]:
        """g at times (m,) since the dose, 0 or later."""
        return jnp.exp(self.log(since, eta))


def _level(population: Population, logarithms: bool) -> float:
    """The median of the logarithm of responses over all that was given before them."""
    one_outcome(population)
    subjects = population.subjects
    y = np.asarray(subjects.y, float)
    time = np.asarray(subjects.time)[:, :, None]
    amount = np.asarray(subjects.doses.amount)[:, None, :]
    given = np.sum(np.where(np.asarray(subjects.doses.time)[:, None, :] <= time, amount, 0.0), axis=-1)
    useful = np.asarray(subjects.mask, bool) & (given > 0.0) & (logarithms | (y > 0.0))
    if not useful.any():
        raise ValueError("UnitResponse.of: no response above 0 comes after a dose, so nothing tells its size.")
    log_y = y[useful] if logarithms else np.log(y[useful])
    return float(np.median(log_y - np.log(given[useful])))

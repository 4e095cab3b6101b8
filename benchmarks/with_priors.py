"""Theophylline's model with a prior for every number, as NUTS needs them."""

import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array
from models import Additive

import mefit as mf


class WithPriors(mf.Model):
    """One-compartment oral kinetics, log-normal ka, CL, V with independent random effects, additive error."""

    ka: Array = mf.positive(unit="1/h", prior=dist.LogNormal(0.0, 1.0))
    cl: Array = mf.positive(unit="L/h/kg", prior=dist.LogNormal(-3.0, 1.0))
    v: Array = mf.positive(unit="L/kg", prior=dist.LogNormal(-1.0, 1.0))
    sd: Array = mf.positive(names=("ka", "cl", "v"), prior=dist.LogNormal(-1.0, 1.0))
    sigma: Array = mf.positive(unit="mg/L", prior=dist.LogNormal(0.0, 1.0))

    def random_effects(self):
        return dist.Normal(jnp.zeros(3), self.sd)

    observations = Additive.observations


def start() -> WithPriors:
    """Its starting values."""
    return WithPriors(ka=1.5, cl=0.04, v=0.5, sd=jnp.array([0.6, 0.3, 0.2]), sigma=0.7)

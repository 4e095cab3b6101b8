"""The model of lesson 06 for phenobarbital in newborn infants, for its exercises."""

import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array

import mefit as mf


class Infants(mf.Model):
    """One compartment; CL and V of an infant of 1.5 kg, each with a power of weight; additive error."""

    cl: Array = mf.positive(unit="L/h")
    v: Array = mf.positive(unit="L")
    power: Array = mf.real(names=("cl", "v"))
    omega: Array = mf.diagonal_covariance(names=("cl", "v"))
    sigma: Array = mf.positive(unit="mg/L")

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(2), self.omega)

    def observations(self, eta, subject):
        cl, v = jnp.array([self.cl, self.v]) * (subject.covariates["wt"] / 1.5) ** self.power * jnp.exp(eta)
        return dist.Normal(mf.pk.iv_bolus_one_compartment(subject, cl=cl, v=v), self.sigma)


def start(power: tuple[float, float]) -> Infants:
    """Where a fit begins, or holds the powers of CL and V if they are fixed."""
    cl, v, sigma = jnp.array([0.007, 1.5, 3.0])
    return Infants(cl=cl, v=v, power=jnp.array(power), omega=0.1 * jnp.eye(2), sigma=sigma)

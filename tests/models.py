"""Models that many tests share, and data kept for the session."""

import equinox as eqx
import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array

import mefit as mf


class Additive(mf.Model):
    """One-compartment oral kinetics, log-normal ka, CL, V with independent random effects, additive error."""

    ka: Array = mf.positive(unit="1/h")
    cl: Array = mf.positive(unit="L/h/kg")
    v: Array = mf.positive(unit="L/kg")
    omega: Array = mf.diagonal_covariance(names=("ka", "cl", "v"))
    sigma: Array = mf.positive(unit="mg/L")

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(3), self.omega)

    def observations(self, eta, subject):
        ka, cl, v = self.ka * jnp.exp(eta[0]), self.cl * jnp.exp(eta[1]), self.v * jnp.exp(eta[2])
        return dist.Normal(mf.pk.oral_one_compartment(subject, ka=ka, cl=cl, v=v), self.sigma)


class Combined(Additive):
    """The same with variance a^2 + b^2 f^2; a = 0, held constant, makes it proportional."""

    slope: Array = mf.positive()

    def observations(self, eta, subject):
        f = super().observations(eta, subject).loc
        return dist.Normal(f, jnp.sqrt(self.sigma**2 + self.slope**2 * f**2))


class Proportional(mf.Model):
    ka: Array = mf.positive(unit="1/h")
    cl: Array = mf.positive(unit="L/h")
    v: Array = mf.positive(unit="L")
    omega: Array = mf.diagonal_covariance(names=("ka", "cl", "v"))
    slope: Array = mf.positive()

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(3), self.omega)

    def observations(self, eta, subject):
        ka, cl, v = self.ka * jnp.exp(eta[0]), self.cl * jnp.exp(eta[1]), self.v * jnp.exp(eta[2])
        f = mf.pk.oral_one_compartment(subject, ka=ka, cl=cl, v=v)
        return dist.Normal(f, self.slope * f)


class FullProportional(Proportional):
    omega: Array = mf.covariance(names=("ka", "cl", "v"))


class FullOmega(mf.Model):
    ka: Array = mf.positive(unit="1/h")
    cl: Array = mf.positive(unit="L/h")
    v: Array = mf.positive(unit="L")
    omega: Array = mf.covariance(names=("ka", "cl", "v"))
    sigma: Array = mf.positive(unit="mg/L")

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(3), self.omega)

    observations = Additive.observations


class Line(mf.Model):
    """A straight line with random intercept and slope: linear and Gaussian, so every integral is exact."""

    beta: Array = mf.real(names=("intercept", "slope"))
    omega: Array = mf.covariance(names=("intercept", "slope"))
    sigma: Array = mf.positive(unit="ms")

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(2), self.omega)

    def observations(self, eta, subject):
        b = self.beta + eta
        return dist.Normal(b[0] + b[1] * subject.time, self.sigma)


class Schools(mf.Model):
    """Eight Schools: y ~ N(mu + eta, se^2), eta ~ N(0, tau^2), se known."""

    mu: Array = mf.real(unit="points")
    tau: Array = mf.positive(unit="points")

    def random_effects(self):
        return dist.Normal(0.0, self.tau)

    def observations(self, eta, subject):
        return dist.Normal(self.mu + eta, subject.covariates["se"])


class Logistic(mf.Model):
    """Clustered binary data: logit P = b0 + eta, eta ~ N(0, omega^2)."""

    b0: Array = mf.real()
    omega: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(0.0, self.omega)

    def observations(self, eta, subject):
        return dist.Bernoulli(logits=jnp.broadcast_to(self.b0 + eta, subject.time.shape))


class Means(mf.Model):
    """Neyman and Scott's problem: y_ij ~ N(mu + eta_i, sigma^2), eta_i ~ N(0, omega^2)."""

    mu: Array = mf.real()
    omega: Array = mf.positive()
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(0.0, self.omega)

    def observations(self, eta, subject):
        return dist.Normal(jnp.broadcast_to(self.mu + eta, subject.time.shape), self.sigma)


def theophylline_model(**changes):
    """The starting values of the lessons, dose in mg/kg."""
    values = dict(ka=1.5, cl=0.04, v=0.5, omega=jnp.diag(jnp.array([0.4, 0.1, 0.05])), sigma=0.7)
    return Additive(**(values | changes))


def replaced(model, **changes):
    """The model with some parameters set to other values."""
    names = list(changes)
    return eqx.tree_at(
        lambda m: [getattr(m, name) for name in names], model, [jnp.asarray(changes[name], float) for name in names]
    )


class Decay(mf.Model):
    """A level that differs between subjects and depends on weight, and decays: y = (base + slope wt + eta) e^(-k t).

    The level's random effect has the unit of y, that of the rate has none, and they are correlated.
    """

    base: Array = mf.real()
    slope: Array = mf.real()
    rate: Array = mf.positive()
    omega: Array = mf.covariance()
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(2), self.omega)

    def observations(self, eta, subject):
        level = self.base + self.slope * subject.covariates["wt"] + eta[0]
        return dist.Normal(level * jnp.exp(-self.rate * jnp.exp(eta[1]) * subject.time), self.sigma)


class OralLog(mf.Model):
    """One compartment by mouth for log concentrations, the model of lesson 06's explorer of designs."""

    cl: Array = mf.positive()
    v: Array = mf.positive()
    ka: Array = mf.positive()
    omega: Array = mf.diagonal_covariance(names=("cl", "v", "ka"))
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(3), self.omega)

    def observations(self, eta, subject):
        cl, v, ka = jnp.array([self.cl, self.v, self.ka]) * jnp.exp(eta)
        return dist.Normal(jnp.log(mf.pk.oral_one_compartment(subject, cl=cl, v=v, ka=ka)), self.sigma)

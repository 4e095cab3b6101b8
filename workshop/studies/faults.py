"""Studies with a fault that their model does not know of, to see which diagnostic finds which.

Everyone gets one dose into the blood, and gives the logarithm of the concentration at eight times. The model says that
it falls along a straight line, with a height and a rate of one's own,

    y_ij = a + eta_1 - (k + eta_2) t_j + e_ij,   eta ~ N(0, diag(omega^2)),   e ~ N(0, sigma^2),

which is linear and Gaussian: every method finds the same likelihood, and whatever a diagnostic says is not the method's
doing. The people of `study` are made like that, but for one fault.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, PRNGKeyArray

import mefit as mf

TIMES = np.array([0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0])
HEIGHT, RATE, OMEGA, SIGMA = 2.3, 0.15, (0.3, 0.04), 0.15
NOTHING, ERROR, SHAPE, COVARIATE, EFFECTS = "nothing", "error", "shape", "covariate", "random effects"
FAULTS = {
    NOTHING: "the model is right",
    ERROR: "late samples are near the limit of the assay: their error is larger",
    SHAPE: "the curve has two phases, a fast one and a slow one",
    COVARIATE: "the rate depends on kidney function",
    EFFECTS: "two kinds of people: one in five eliminates much more slowly",
}


class StraightLine(mf.Model):
    """The model above; `height` and `rate` are a and k."""

    height: Array = mf.real(unit="log mg/L")
    rate: Array = mf.positive(unit="1/h")
    omega: Array = mf.diagonal_covariance(names=("height", "rate"))
    sigma: Array = mf.positive(unit="log mg/L")

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(2), self.omega)

    def observations(self, eta, subject):
        return dist.Normal(self.height + eta[0] - (self.rate + eta[1]) * subject.time, self.sigma)


def start() -> StraightLine:
    """The model at the values that a sound study is made with."""
    values = {"height": HEIGHT, "rate": RATE, "omega": jnp.diag(jnp.array(OMEGA) ** 2), "sigma": SIGMA}
    return StraightLine(**values)  # type: ignore[arg-type]


def study(fault: str, key: PRNGKeyArray, subjects: int = 200) -> mf.Population:
    """A study with that fault: 8 log concentrations of each subject; covariate `kidney`, (function / 90) - 1."""
    if fault not in FAULTS:
        raise ValueError(f"There is no fault {fault!r}; choose from {', '.join(map(repr, FAULTS))}.")
    keys = jax.random.split(key, 4)
    kidney = jax.random.uniform(keys[0], (subjects,), minval=-0.7, maxval=0.4)
    eta = jnp.array(OMEGA) * jax.random.normal(keys[1], (subjects, 2))
    error = SIGMA * jax.random.normal(keys[2], (subjects, TIMES.size))
    rate = RATE + eta[:, 1]
    if fault == COVARIATE:
        rate = RATE + 0.6 * eta[:, 1] + 0.09 * (kidney + 0.15)
    if fault == EFFECTS:
        slow = jax.random.bernoulli(keys[3], 0.2, (subjects,))
        rate = RATE + 0.024 + 0.35 * eta[:, 1] - 0.12 * slow
    if fault == ERROR:
        error = error * (0.5 + TIMES / 6.0)
    y = HEIGHT + eta[:, :1] - rate[:, None] * TIMES + error
    if fault == SHAPE:
        y = y + 0.5 * (jnp.exp(-0.8 * TIMES) - 0.15)
    none = mf.Doses(*(jnp.zeros((subjects, 0)) for _ in range(4)))
    people = mf.Subject(jnp.broadcast_to(TIMES, y.shape), y, jnp.ones(y.shape), {"kidney": kidney}, none)
    ids = tuple(range(1, subjects + 1))
    return mf.Population(people, ids, time_label="time after the dose (h)", y_label="log concentration")


MYSTERIES = {"P": (3, 31), "Q": (1, 32), "R": (4, 33)}
"""The studies of exercise 05.6: which of the faults, by number, and the seed."""


def mystery(name: str) -> mf.Population:
    """A study with one of the faults, which its name does not tell: P, Q or R."""
    number, seed = MYSTERIES[name]
    return study(tuple(FAULTS)[number], jax.random.key(seed))

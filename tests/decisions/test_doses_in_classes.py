"""A dose for somebody whose class is not known: a mixture of two conjugate normals, whose posterior is in closed form.

In class k log y = log(sum of the doses so far) - m_k - eta_k + e, with eta_k ~ N(0, w_k^2) and e ~ N(0, s^2). After the
samples z_j = log amount - log y_j, n of them, the class has a probability proportional to pi_k N(z; m_k, w_k^2 + s^2),
and m_k + eta_k in it is normal with the precision 1 / w_k^2 + n / s^2.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jaxtyping import Array
from scipy.stats import norm

import mefit as mf

SHARES = np.array([0.3, 0.7])
MEANS = np.array([0.0, 0.6])
SPREADS = np.array([0.3, 0.1])
ERROR = 0.2
TARGET = (80.0, 125.0)
KEY = jax.random.key(3)
GOAL = mf.dosing.Goal(time=np.linspace(0.0, 1.0, 3), target=TARGET, quantity="cmax", link=np.exp)
DOSES = {f"{dose:g}": mf.regimen(dose) for dose in (80.0, 120.0, 180.0)}


class Level(mf.Model):
    """The logarithm of a level that stays, about its mean in one class."""

    mean: Array = mf.real()
    spread: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(0.0, self.spread)

    def observations(self, eta, subject):
        given = jnp.where(subject.doses.time <= subject.time[:, None], subject.doses.amount, 0.0)
        return dist.Normal(jnp.log(jnp.sum(given, axis=1)) - self.mean - eta, ERROR)


MIXTURE = mf.MixtureOfExperts(
    [Level(mean=jnp.asarray(mean), spread=jnp.asarray(spread)) for mean, spread in zip(MEANS, SPREADS, strict=True)],
    gate=mf.ConstantGate(SHARES),
)


def person(*logs):
    """Somebody who got 100, and whose samples, if any, were so far below log 100."""
    samples = [np.log(100.0) - z for z in logs] or [np.nan]
    rows = {"ID": 1, "TIME": [0.0, *np.arange(1.0, 1.0 + len(samples))], "AMT": [100.0, *[0.0] * len(samples)]}
    return mf.Population.from_frame(pd.DataFrame(rows | {"DV": [np.nan, *samples]}), drop_unobserved=None)


def posterior(*logs):
    """Probability of each class, and mean and SD of m + eta in it."""
    shares = SHARES.copy()
    mean = MEANS.copy()
    variance = SPREADS**2
    for z in logs:
        shares = shares * norm.pdf(z, mean, np.sqrt(variance + ERROR**2))
        gain = variance / (variance + ERROR**2)
        mean = mean + gain * (z - mean)
        variance = variance * (1.0 - gain)
    return shares / shares.sum(), mean, np.sqrt(variance)


def told_of(dose, shares, mean, sd):
    """Probabilities below and above the target, and the loss of a window whose upper side counts five."""
    below = shares @ norm.sf((np.log(dose / TARGET[0]) - mean) / sd)
    above = shares @ norm.cdf((np.log(dose / TARGET[1]) - mean) / sd)
    return below, above, below + 5.0 * above


@pytest.mark.slow
@pytest.mark.parametrize("logs", [(), (0.3,), (0.3, 0.5)])
def test_risks_are_those_of_the_mixture(logs):
    people = mf.individual(MIXTURE, person(*logs), draws=20_000, proposed=40_000, key=KEY)
    shares, mean, sd = posterior(*logs)
    np.testing.assert_allclose(people.responsibilities[0], shares, atol=1e-6)
    choice = mf.dosing.choose(people, DOSES, GOAL)
    exact = {name: told_of(float(name), shares, mean, sd) for name in DOSES}
    for row in choice.table.itertuples():
        np.testing.assert_allclose([row.below, row.above], exact[row.regimen][:2], atol=0.012)
        assert row.loss == pytest.approx(exact[row.regimen][2], abs=0.05)
    assert choice.chosen[1] == min(exact, key=lambda name: exact[name][2])


@pytest.mark.slow
def test_the_best_amount_is_that_of_the_mixture():
    people = mf.individual(MIXTURE, person(0.3), draws=4000, proposed=8000, key=KEY)
    known = posterior(0.3)
    grid = np.geomspace(30.0, 400.0, 4000)
    best = min(told_of(dose, *known)[2] for dose in grid)
    found = float(mf.dosing.find(people, mf.regimen, (30.0, 400.0), GOAL).chosen[1])
    assert told_of(found, *known)[2] < best + 0.02


@pytest.mark.slow
def test_a_sample_also_tells_the_class():
    """Expected after one sample are, over what it may show, the SD of the whole mixture and the least loss: sums over a
    fine grid of z."""
    people = mf.individual(MIXTURE, person(), draws=6000, proposed=12_000, key=KEY)
    table = mf.dosing.next_time(people, [1.0], GOAL, regimens=DOSES, outcomes=400).table
    z = np.linspace(-2.5, 3.0, 2001)
    density = SHARES @ norm.pdf(z, MEANS[:, None], np.sqrt(SPREADS[:, None] ** 2 + ERROR**2))
    after = [posterior(one) for one in z]
    variance = [shares @ (sd**2 + mean**2) - (shares @ mean) ** 2 for shares, mean, sd in after]
    losses = [min(told_of(float(name), *known)[2] for name in DOSES) for known in after]
    step = z[1] - z[0]
    shares, mean, sd = posterior()
    now = np.sqrt(shares @ (sd**2 + mean**2) - (shares @ mean) ** 2)
    np.testing.assert_allclose(table.sd, [now, step * density @ np.sqrt(variance)], rtol=0.03)
    least = min(told_of(float(name), *posterior())[2] for name in DOSES)
    np.testing.assert_allclose(table.loss, [least, step * density @ np.array(losses)], atol=0.06)


def test_an_encoder_for_a_mixture_is_refused():
    with pytest.raises(ValueError, match="a mixture of several"):
        mf.taught_encoder(MIXTURE, person(0.3), key=KEY)
    encoder = mf.networks.SetEncoder(person(0.3), 1)
    with pytest.raises(ValueError, match="leave proposal out"):
        mf.individual(MIXTURE, person(0.3), proposal=encoder, key=KEY)

"""Of several outcomes only one is censored: the others need no distribution function."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jaxtyping import Array
from scipy.stats import multivariate_normal, norm

import mefit as mf


class MarkerAndAnswer(mf.Model):
    """A marker below its limit in a row, and answers of yes or no, whose density has no distribution function here."""

    omega: Array = mf.covariance()
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(2), self.omega)

    def observations(self, eta, subject):
        flat = jnp.zeros(subject.time.shape)
        return {"u": dist.Normal(eta[0] + flat, self.sigma), "b": dist.Bernoulli(logits=eta[1] + flat)}


OMEGA = [[1.0, 0.7], [0.7, 2.0]]
ROWS = [
    (0, 0.0, "u", 1.0, 1),
    (0, 0.0, "b", 1.0, 0),
    (0, 1.0, "b", 1.0, 0),
    (1, 0.0, "b", 0.0, 0),
    (2, 0.0, "u", 0.7, 0),
]


@pytest.fixture(scope="module")
def model():
    return MarkerAndAnswer(omega=jnp.array(OMEGA), sigma=0.4)


@pytest.fixture(scope="module")
def population():
    return mf.Population.from_frame(pd.DataFrame(ROWS, columns=["ID", "TIME", "DVID", "DV", "CENS"]))


def test_a_marker_below_its_limit_beside_answers(model, population):
    """Against a grid over both random effects."""
    place = np.linspace(-7.0, 7.0, 701)
    first, second = np.meshgrid(place, place, indexing="ij")
    prior = multivariate_normal.pdf(np.dstack([first, second]), [0.0, 0.0], OMEGA) * (place[1] - place[0]) ** 2
    yes = 1.0 / (1.0 + np.exp(-second))
    of_people = (norm.cdf(1.0, first, 0.4) * yes**2, 1.0 - yes, norm.pdf(0.7, first, 0.4))
    exact = [np.log(np.sum(prior * likelihood)) for likelihood in of_people]
    found = mf.log_likelihood(model, population, mf.AGQ(25), by_subject=True)
    np.testing.assert_allclose(found, exact, atol=1e-5)


def test_it_is_written_and_read_again(model, population):
    frame = population.to_frame()
    assert frame.CENS.tolist() == [0, 1, 0, 0, 0] and frame.DVID.tolist() == ["b", "u", "b", "b", "u"]
    again = mf.Population.from_frame(frame)
    assert jax.tree.structure(again.subjects) == jax.tree.structure(population.subjects)
    for one, other in zip(jax.tree.leaves(again.subjects), jax.tree.leaves(population.subjects), strict=True):
        np.testing.assert_array_equal(one, other)
    assert "(1 censored)" in str(population.report)
    assert population.outcome("b").subjects.censored is None
    assert population.outcome("u").subjects.censored[0].tolist() == [1, 0]


def test_people_put_together_know_what_is_censored(model, population):
    people = [population[i] for i in range(3)]
    together = mf.Population.from_subjects(people, ids=population.ids)
    assert list(together.subjects.censored) == ["u"]
    method = mf.AGQ(5)
    assert mf.log_likelihood(model, together, method) == pytest.approx(mf.log_likelihood(model, population, method))
    assert mf.Population.from_subjects(people[1:]).subjects.censored is None


def test_without_the_censored_all_others_stay(population):
    left = population.uncensored
    assert left.n_observations == 4 and left.subjects.censored is None
    assert {name: int(np.sum(mask)) for name, mask in left.subjects.mask.items()} == {"b": 3, "u": 1}


def test_a_response_that_cannot_be_is_still_told_by_its_row(model):
    rows = [*ROWS, (3, 0.0, "b", 0.5, 0)]
    wrong = mf.Population.from_frame(pd.DataFrame(rows, columns=["ID", "TIME", "DVID", "DV", "CENS"]))
    with pytest.raises(ValueError, match="the response of b of subject 3 in its row 1 is 0.5"):
        mf.log_likelihood(model, wrong, mf.Laplace())

"""Draws of random effects and missing responses together, against the closed form of a linear Gaussian model."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from models import Line

import mefit as mf
from mefit.data.missing import filled, gaps
from mefit.effects.augmentation import completed_anew, first_completion

TIMES = np.arange(5.0)
COPIES = 600


@pytest.fixture(scope="module")
def people():
    """Four records with gaps, one of them empty, 600 times each."""
    nan = np.nan
    records = np.array(
        [[2.0, 2.9, 3.1, 4.4, 5.0], [1.0, 0.6, nan, nan, nan], [nan, nan, 4.0, nan, 6.5], [nan, nan, nan, nan, nan]]
    )
    y = np.tile(records, (COPIES, 1))
    rows = [(i, t, y[i, j]) for i in range(len(y)) for j, t in enumerate(TIMES)]
    return mf.Population.from_frame(pd.DataFrame(rows, columns=["ID", "TIME", "DV"]), drop_unobserved=None)


@pytest.fixture(scope="module")
def model():
    omega = jnp.array([[1.0, 0.2], [0.2, 0.4]])
    return Line(beta=jnp.array([1.5, 0.8]), omega=omega, sigma=0.8)


def exact(model, y):
    """Mean and covariance of eta given the responses that were seen, by the formula of linear regression."""
    seen = ~np.isnan(y)
    design = np.column_stack([np.ones(5), TIMES])[seen]
    omega = np.asarray(model.omega)
    covariance = np.linalg.inv(np.linalg.inv(omega) + design.T @ design / float(model.sigma) ** 2)
    return covariance @ design.T @ (y[seen] - design @ np.asarray(model.beta)) / float(model.sigma) ** 2, covariance


def crooked_encoder(people):
    """An encoder that leans on the responses, filled in or not, and is wrong about all of them."""
    encoder = mf.networks.Encoder(people, effects=2, hidden=(4,), seed=3)
    line = 0.25 * jnp.array([[1.0, 1.0, 0.5, 0.5, 0.5], [-0.5, 0.0, 0.5, 0.5, 1.0]])
    encoder = eqx.tree_at(lambda e: e.line, encoder, line)
    return encoder.for_effects(jnp.array([0.2, -0.1]), jnp.array([0.6, 0.5]))


@pytest.mark.slow
def test_the_pair_keeps_its_distribution(people, model):
    """From anywhere the chains come to the exact posterior, whatever the encoder says."""
    encoder = crooked_encoder(people)
    state = first_completion(model, people.subjects, jax.random.key(0))
    etas = []
    missing = []
    for key in jax.random.split(jax.random.key(1), 30):
        state, taken = completed_anew(model, encoder, people.subjects, state, key, 4)
        etas.append(np.asarray(state.eta).reshape(COPIES, 4, 2))
        missing.append(np.asarray(state.y).reshape(COPIES, 4, 5))
    assert 0.1 < taken[0] < 0.9 and 0.1 < taken[1] < 0.9
    etas = np.concatenate(etas[5:])
    missing = np.concatenate(missing[5:])
    records = np.asarray(people.subjects.y)[:4]
    seen = np.asarray(people.subjects.mask)[:4]
    design = np.column_stack([np.ones(5), TIMES])
    for i in range(4):
        mean, covariance = exact(model, np.where(seen[i], records[i], np.nan))
        sd = np.sqrt(np.diagonal(covariance))
        np.testing.assert_allclose(etas[:, i].mean(0), mean, atol=0.03 * sd.max())
        np.testing.assert_allclose(np.cov(etas[:, i].T), covariance, atol=0.04 * sd.max() ** 2)
        gone = ~seen[i]
        law = design @ covariance @ design.T + float(model.sigma) ** 2 * np.eye(5)
        expected = design @ (np.asarray(model.beta) + mean)
        np.testing.assert_allclose(missing[:, i].mean(0)[gone], expected[gone], atol=0.03 * np.sqrt(law.max()))
        np.testing.assert_allclose(
            np.cov(missing[:, i].T)[np.ix_(gone, gone)], law[np.ix_(gone, gone)], atol=0.04 * law.max()
        )
        assert np.all(missing[:, i][:, seen[i]] == 0.0)


def test_gaps_are_filled_and_nothing_else(people):
    subjects = people[:4].subjects
    other = gaps(subjects)
    np.testing.assert_array_equal(np.asarray(other.mask), ~np.asarray(subjects.mask))
    whole = filled(subjects, 7.0 + jnp.zeros((4, 5)))
    assert np.all(np.asarray(whole.mask))
    seen = np.asarray(subjects.mask)
    np.testing.assert_array_equal(np.asarray(whole.y)[seen], np.asarray(subjects.y)[seen])
    assert np.all(np.asarray(whole.y)[~seen] == 7.0)


def test_padding_is_no_gap():
    frame = pd.DataFrame({"ID": [1, 1, 1, 2], "TIME": [0.0, 1.0, 2.0, 0.0], "DV": [1.0, np.nan, 3.0, 5.0]})
    subjects = mf.Population.from_frame(frame).subjects
    np.testing.assert_array_equal(np.asarray(gaps(subjects).mask), [[False, True, False], [False, False, False]])
    whole = filled(subjects, jnp.full((2, 3), 9.0))
    np.testing.assert_array_equal(np.asarray(whole.mask), [[True, True, True], [True, False, False]])
    np.testing.assert_array_equal(np.asarray(whole.y), [[1.0, 9.0, 3.0], [5.0, 0.0, 0.0]])

"""Records at times of their own: the true likelihood by quadrature, and what every encoder of them must keep."""

import dataclasses

import jax
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import multivariate_normal, norm

import mefit as mf
from workshop.studies import irregular as study


@pytest.mark.parametrize("bent", [False, True])
def test_the_true_likelihood_against_adaptive_quadrature(bent):
    people = study.simulate_records(2, seed=3, bent=bent)
    subjects = people.population.subjects
    for i, log_p in enumerate(people.log_likelihood):
        seen = np.asarray(subjects.mask[i])
        t = np.asarray(subjects.time[i])[seen]
        y = np.asarray(subjects.y[i])[seen]
        loadings = np.column_stack([t, np.sin(3 * t)]) * np.sqrt([1.0, 0.5])
        law = multivariate_normal(np.zeros(t.size), loadings @ loadings.T + 0.25 * np.eye(t.size))

        def integrand(b2, t=t, y=y, law=law, log_p=log_p):
            shift = 1.5 * np.cos(2 * np.pi * (t - 0.1 * b2))
            if not bent:
                shift = 1.5 * np.cos(2 * np.pi * t) * np.exp(0.3 * b2)
            return np.exp(law.logpdf(y - 2 - t - shift) + norm.logpdf(b2) - log_p)

        assert quad(integrand, -8, 8, limit=400)[0] == pytest.approx(1.0, rel=1e-6)


@pytest.fixture(scope="module")
def people():
    return study.simulate_records(6, seed=1).population


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pooled", "recurrent"])
def test_the_order_of_rows_and_padding_change_nothing(people, name):
    encoder = study.ENCODERS[name](people, 2)
    answer = jax.jit(lambda subject: encoder(subject))
    rows = int(people.rows.max())
    subject = people[int(np.argmax(people.rows))]
    assert subject.time.size == rows
    turned = subject.with_rows(lambda values: values[::-1])
    more = subject.with_rows(lambda values: np.concatenate([values, values]))
    padded = jax.tree.map(lambda leaf: leaf[0], mf.Population.from_subjects([subject, more]).subjects)
    for other in (turned, padded):
        for before, after in zip(answer(subject), answer(other), strict=True):
            np.testing.assert_allclose(after, before, rtol=1e-9, atol=1e-12)
    # and what is read does change it
    louder = dataclasses.replace(subject, y=np.asarray(subject.y) + 1.0)
    assert np.any(np.abs(answer(louder).mean - answer(subject).mean) > 1e-3)

"""Many fits side by side are the fits one by one: where they end, how sure they are, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from experts import KEY, UP, by_class, line, lines, mixture
from models import Means
from scipy.special import logsumexp

import mefit as mf
from mefit.base.together import Slopes, minimise_together


def test_minima_of_many_parabolas_in_any_unit():
    """0.5 (x - m)' A (x - m) with A of condition 1e4, in units from 1e-6 to 1e6: the minima are known."""
    rng = np.random.default_rng(2)
    minima = rng.normal(size=(5, 3))
    halves = rng.normal(size=(5, 3, 3)) * np.array([1.0, 10.0, 100.0])
    matrices = halves @ np.swapaxes(halves, 1, 2) + 0.1 * np.eye(3)
    for unit in (1e-6, 1.0, 1e6):

        def parabola(x, which, unit=unit):
            apart = x / unit - minima[which]
            bent = np.einsum("rpq,rq->rp", matrices[which], apart)
            return Slopes(0.5 * np.sum(apart * bent, axis=1), bent / unit)

        root = np.tile(np.diag([0.3, 1.0, 2.0]) * unit, (5, 1, 1))
        ends = minimise_together(parabola, np.zeros((5, 3)), root, tolerance=1e-9)
        np.testing.assert_allclose(ends.x / unit, minima, atol=1e-6)
        assert np.all(ends.slope <= 1e-9) and ends.evaluations < 5 * 60


@pytest.fixture(scope="module")
def three():
    """Three studies of fifty people, fitted side by side from the truth and from drawn starts."""
    studies = [lines(50, seed=40 + number)[0] for number in range(3)]
    return studies, mf.fit_many(mixture(studies[0]), studies, starts=2, key=KEY)


@pytest.mark.slow
def test_each_ends_at_its_maximum(three):
    studies, fits = three
    assert np.all(fits.converged)
    for number, population in enumerate(studies):
        model = fits.model(number)

        def exact(x, people=population):
            return logsumexp(by_class(fits.space.model_at(x), people), axis=1).sum()

        x = fits.x[number]
        assert fits.log_likelihood[number] == pytest.approx(exact(x), abs=1e-8)
        one = mf.fit(model, population, mf.Laplace(), progress=False)
        assert fits.log_likelihood[number] == pytest.approx(one.log_likelihood, abs=1e-3)
        step = 1e-3
        curved = [exact(x + step * e) - 2.0 * exact(x) + exact(x - step * e) for e in np.eye(x.size)]
        information = fits.information()[number]
        np.testing.assert_allclose(np.diagonal(information), -np.array(curved) / step**2, rtol=0.01, atol=0.02)
        np.testing.assert_allclose(fits.responsibilities[number], one.responsibilities, atol=0.01)


@pytest.mark.slow
def test_it_says_what_it_cannot_do(three):
    studies, _ = three
    with pytest.raises(ValueError, match="equally many subjects"):
        mf.fit_many(line(UP), [studies[0], studies[1][[0, 1]]])
    with pytest.raises(ValueError, match="Line is no mixture"):
        mf.fit_many(line(UP), studies, starts=3, key=KEY)
    with pytest.raises(ValueError, match="key"):
        mf.fit_many(mixture(studies[0]), studies, starts=3)


def test_no_study_is_a_sentence_and_a_text_names_one_parameter():
    model = Means(mu=1.0, omega=1.0, sigma=0.5)
    frame = pd.DataFrame({"ID": [1, 1, 2, 2, 3, 3], "TIME": [0.0, 1.0] * 3, "DV": [1.0, 1.4, 2.8, 3.1, 0.1, -0.4]})
    studies = [mf.Population.from_frame(frame)]
    with pytest.raises(ValueError, match="one population or more, and the list is empty"):
        mf.fit_many(model, [])
    found = mf.fit_many(model, studies, fixed="mu")
    assert found.x.shape == (1, 2)  # a text was read as the names "m" and "u"
    np.testing.assert_array_equal(found.x, mf.fit_many(model, studies, fixed=("mu",)).x)

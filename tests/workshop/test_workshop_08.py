"""What lesson 08 brings along: the people, the best possible answers to them, the model, and a file of plants."""

import ast
import inspect
from pathlib import Path

import nbformat
import numpy as np
import pytest
from scipy.special import logsumexp

import mefit as mf
from workshop.studies import plants, saturation

ROOT = Path(__file__).resolve().parents[2]


def test_people_have_the_moments_of_the_recipe():
    """Exact moments of X at five times, by the formula's distribution."""
    x = saturation.curves(*saturation.people(200_000, seed=1))
    at = [1, 2, 5, 10, 20]
    np.testing.assert_allclose(x.mean(0)[at], [0.3040, 0.4378, 0.6245, 0.7487, 0.8445], atol=0.003)
    np.testing.assert_allclose(x.std(0)[at], [0.2096, 0.2487, 0.2739, 0.2771, 0.2762], atol=0.003)
    share = np.linalg.eigvalsh(np.cov(x.T))[::-1]
    np.testing.assert_allclose((share / share.sum())[:3], [0.9619, 0.0368, 0.0013], atol=0.001)


def test_a_study_depends_on_its_seed_and_its_people_do_not_depend_on_the_noise():
    a, b = saturation.simulate(30, 1), saturation.simulate(30, 1)
    np.testing.assert_array_equal(a.subjects.y, b.subjects.y)
    sharp = saturation.simulate(30, 1, sigma=0.001)
    np.testing.assert_allclose(sharp.subjects.y, saturation.curves(*saturation.people(30, 1)), atol=0.005)
    assert np.abs(np.asarray(a.subjects.y - saturation.simulate(30, 2).subjects.y)).max() > 0.1


def test_a_thinned_study_keeps_so_many_measurements_and_none_at_time_zero():
    few = saturation.thinned(saturation.simulate(50, 1), 5, seed=2)
    mask = np.asarray(few.subjects.mask)
    assert np.all(mask.sum(1) == 5) and not mask[:, 0].any() and few.n_observations == 250
    assert len(np.unique(mask, axis=0)) > 40


def by_brute_force(y, sigma):
    """Log-likelihood and E[X | y] of one person, by a grid over c1 and c2."""
    c1, z = np.linspace(0.5, 1.5, 601), np.linspace(-7, 7, 901)
    shape = saturation.TIMES / (saturation.TIMES + np.exp(-2 + z)[:, None])
    x = c1[:, None, None] * shape
    log = (-0.5 * ((y - x) / sigma) ** 2 - np.log(sigma * np.sqrt(2 * np.pi))).sum(-1)
    ends = np.full(601, 1 / 600)
    ends[[0, -1]] /= 2
    log = log + np.log(ends)[:, None] - 0.5 * z**2 - 0.5 * np.log(2 * np.pi) + np.log(z[1] - z[0])
    weights = np.exp(log - logsumexp(log))
    return logsumexp(log), np.einsum("ab,abt->t", weights, x)


@pytest.mark.parametrize("sigma", [0.05, 0.2])
def test_the_best_possible_answers_are_those_of_brute_force(sigma):
    people = saturation.simulate(4, seed=3, sigma=sigma)
    oracle, curves = saturation.oracle(people, sigma), saturation.best_curves(people, sigma)
    for i in range(4):
        value, curve = by_brute_force(np.asarray(people.subjects.y)[i], sigma)
        assert oracle[i] == pytest.approx(value, abs=2e-4)
        np.testing.assert_allclose(curves[i], curve, atol=2e-4)


def test_what_nobody_beats_is_what_was_published():
    people = saturation.simulate(3000, seed=4)
    assert saturation.oracle(people, 0.05).mean() == pytest.approx(28.60, abs=0.2)
    error = saturation.best_curves(people, 0.05) - saturation.curves(*saturation.people(3000, seed=4))
    assert np.sqrt(np.mean(error**2)) == pytest.approx(0.0146, abs=0.0007)


def test_the_model_of_the_lesson_is_the_one_that_is_tested():
    cells = nbformat.read(ROOT / "workshop" / "08_menets.ipynb", 4).cells
    (shown,) = [c.source for c in cells if c.cell_type == "code" and c.source.startswith("class MeNet")]

    def body(source):
        return [ast.dump(node) for node in ast.parse(source).body[0].body if not isinstance(node, ast.Expr)]

    assert body(shown) == body(inspect.getsource(saturation.MeNet))


def test_the_plants_are_what_their_script_writes():
    assert plants.FILE.read_text(encoding="utf-8") == plants.text()
    study = mf.Population.read_csv(plants.FILE, id="plant", time="day", y="cm")
    assert len(study) == 40 and study.n_observations == len(plants.study())
    rows = np.asarray(study.subjects.mask).sum(1)
    assert rows.min() < 8 < rows.max()
    table = plants.study(seed=9, plants=400)
    last = table[table.day == 84].cm
    whole = plants.HEIGHT * np.exp(plants.HEIGHT_SD**2 / 2)
    assert last.mean() == pytest.approx(whole, rel=0.06) and plants.height(np.array([42.0]), 100.0, 42.0) == 50.0

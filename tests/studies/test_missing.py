"""Wrong ways with missing responses, on a table whose answers can be read off; and the study of dropout."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import mefit as mf
from workshop.studies import autoencoders
from workshop.studies import missing as study

NAN = np.nan


@pytest.fixture
def table():
    """Three people, three visits: one leaves after the first, one has a gap before the end."""
    y = np.array([[1.0, NAN, NAN], [2.0, 3.0, 5.0], [NAN, 6.0, 7.0]])
    rows = [(i, t, y[i, t]) for i in range(3) for t in range(3)]
    return mf.Population.from_frame(pd.DataFrame(rows, columns=["ID", "TIME", "DV"]))


def test_available_cases(table):
    np.testing.assert_allclose(study.available_case_means(table), [1.5, 4.5, 6.0])


def test_completers(table):
    left = study.completers(table)
    assert left.ids == (1,)
    np.testing.assert_array_equal(left.subjects.y, [[2.0, 3.0, 5.0]])
    with pytest.raises(ValueError, match="no completers"):
        study.completers(table[[0, 2]])


def test_the_last_value_carried_forward(table):
    filled = study.last_value_carried_forward(table)
    np.testing.assert_array_equal(filled.subjects.y, [[1.0, 1.0, 1.0], [2.0, 3.0, 5.0], [0.0, 6.0, 7.0]])
    np.testing.assert_array_equal(filled.subjects.mask, [[True] * 3, [True] * 3, [False, True, True]])


def test_the_mean_in_each_gap(table):
    filled = study.mean_imputed(table)
    np.testing.assert_array_equal(filled.subjects.y, [[1.0, 4.5, 6.0], [2.0, 3.0, 5.0], [1.5, 6.0, 7.0]])
    np.testing.assert_allclose(study.available_case_means(filled), study.available_case_means(table))
    assert np.asarray(filled.subjects.y).std(axis=0)[2] < np.std([5.0, 7.0])


def test_people_with_times_of_their_own_are_refused():
    frame = pd.DataFrame({"ID": [1, 1, 2, 2], "TIME": [0.0, 1.0, 0.0, 2.0], "DV": 1.0})
    with pytest.raises(ValueError, match="same planned times"):
        study.available_case_means(mf.Population.from_frame(frame))


@pytest.mark.slow
def test_dropout_by_what_nobody_saw():
    y, left = study.simulate_unseen_dropout(20_000, seed=4)
    end = autoencoders.simulate_curves(20_000, seed=4).curves[:, -1]
    gone = np.isnan(left)
    assert not np.any(gone[:, :1]) and np.all(gone[:, 1:] >= gone[:, :-1])
    assert np.mean(gone[:, -1]) == pytest.approx(0.30, abs=0.02)
    # who is gone by the end, against the chance of 19 visits by its definition, and the value it hangs on
    chance = 1.0 - (1.0 - 1.0 / (1.0 + np.exp(4.65 - 1.5 * (end - autoencoders.MEAN_AT_THE_END)))) ** 19
    variance = chance * (1.0 - chance)
    assert abs(np.sum(gone[:, -1] - chance)) < 4 * np.sqrt(variance.sum())
    assert abs(np.sum((gone[:, -1] - chance) * end)) < 4 * np.sqrt(np.sum(variance * end**2))
    assert np.nanmean(left[:, -1]) - np.mean(y[:, -1]) < -0.25
    by_chance = np.isnan(study.simulate_unseen_dropout(20_000, seed=4, strength=0.0)[1])
    assert np.mean(by_chance[:, 1]) == pytest.approx(1.0 / (1.0 + np.exp(4.65)), abs=0.003)


# ---------------------------------------------------------------- simulation II


def end_of_deep(model):
    """E y(1) of a deep mixed model: its network's mean over N(0, I) by 15 nodes of Gauss and Hermite to each side."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(15)
    etas = jnp.asarray(np.stack(np.meshgrid(nodes, nodes, nodes), -1).reshape(-1, 3))
    mass = np.prod(np.stack(np.meshgrid(weights, weights, weights), -1).reshape(-1, 3), 1)
    ends = jax.vmap(lambda eta: model.curve(eta, jnp.array([1.0]))[0])(etas)
    return float(np.asarray(ends) @ mass / mass.sum())


def end_of_linear(population, iterations=2000):
    """E y(1) of the linear mixed model of the same basis at its maximum likelihood over what was seen.

    By ECME in NumPy (Liu and Rubin 1994, Biometrika 81): the mean by generalised least squares, then the expectations
    of b b' and of the squared errors.
    """
    basis = np.asarray(mf.networks.NaturalSpline(6, 0.0, 1.0)(jnp.asarray(autoencoders.TIMES)))
    y = study.responses_with_gaps(population)
    last = (~np.isnan(y)).sum(axis=1)  # dropout is for good
    groups = [(basis[:rows], y[last == rows, :rows]) for rows in np.unique(last)]
    size = basis.shape[1]
    omega, noise, beta = 0.3 * np.eye(size), 1.0, np.zeros(size)
    for _ in range(iterations):
        inverses = [np.linalg.inv(x @ omega @ x.T + noise * np.eye(len(x))) for x, _ in groups]
        pairs = list(zip(groups, inverses, strict=True))
        left = sum(len(values) * x.T @ inverse @ x for (x, values), inverse in pairs)
        beta = np.linalg.solve(left, sum(x.T @ inverse @ values.sum(0) for (x, values), inverse in pairs))
        square, error = np.zeros((size, size)), 0.0
        for (x, values), inverse in pairs:
            gain = omega @ x.T @ inverse
            b = (values - x @ beta) @ gain.T
            spread = omega - gain @ x @ omega
            square += b.T @ b + len(values) * spread
            error += np.sum((values - (beta + b) @ x.T) ** 2) + len(values) * np.trace(x @ spread @ x.T)
        omega, noise = square / len(y), error / np.sum(last)
    return float(basis[-1] @ beta)


def by_bound(population, key):
    method = mf.Adam(mf.Amortised(mf.networks.Encoder(population, 3)), steps=2400, learning_rate=5e-3, batch=100)
    return mf.fit(study.loose_model(), population, method, key=key, progress=False)


def by_augmentation(population, key):
    method = mf.Augmented(mf.networks.Encoder(population, 3), rounds=600)  # with 300 their own noise is .01 or so
    return mf.fit(study.loose_model(), population, method, key=key, progress=False)


def wrong_ends(population):
    """The means at the end by the wrong ways."""
    carried = study.last_value_carried_forward(population)
    return [
        study.available_case_means(way)[-1]
        for way in (population, study.completers(population), carried, study.mean_imputed(population))
    ]


@pytest.mark.slow
def test_dropout_at_random_misleads_the_wrong_ways_and_no_likelihood():
    """Three data sets of 800 people: the bound over what was seen recovers the mean at the end as the linear mixed
    model of the same basis does, augmentation as the bound does, and the four ways do not."""
    rows = []
    for seed in (1, 2, 3):
        population = autoencoders.population_of(autoencoders.simulate_dropout(800, seed)[1])
        key = jax.random.key(seed)
        bound = by_bound(population, key)
        drawn = by_augmentation(population, key)
        print("accepted", drawn.augmentation.acceptance.iloc[-100:].mean().to_dict(), flush=True)
        right = [end_of_deep(bound.model), end_of_deep(drawn.model), end_of_linear(population)]
        rows.append(np.array([*right, *wrong_ends(population)]) - autoencoders.MEAN_AT_THE_END)
        print(
            "errors: bound, augmentation, linear, available, completers, carried, mean",
            np.round(rows[-1], 4),
            flush=True,
        )
    bound, drawn, linear, *wrong = np.array(rows).T
    assert np.mean(np.abs(bound - linear)) < 0.01
    assert np.max(np.abs(bound - drawn)) < 0.015
    assert abs(np.mean(bound)) < 0.08
    for way in wrong:
        assert np.mean(way) < -0.2


@pytest.mark.slow
def test_dropout_by_what_nobody_saw_misleads_everybody():
    """People leave for where their curve would have ended: each way errs, the likelihoods too, and nothing in the data
    says so. Only an assumption mends it, such as a shift of what was not seen: the mean moves by its share."""
    errors = []
    shifted = []
    for seed in (1, 2, 3):
        y, left = study.simulate_unseen_dropout(800, seed)
        population = autoencoders.population_of(left)
        key = jax.random.key(seed)
        fit = by_bound(population, key)
        ends = np.array([end_of_deep(fit.model), end_of_linear(population), *wrong_ends(population)])
        errors.append(ends - np.mean(y[:, -1]))
        gone = np.isnan(left)
        table = mf.delta_adjusted(fit, [0.0, 0.5], draws=100, key=key).set_index("shift")["mean"]
        end = [table.loc[label].to_numpy()[-1] for label in ("0", "0.5")]
        shifted.append([end[0] - np.mean(y[:, -1]), end[1] - end[0] - 0.5 * np.mean(gone[:, -1])])
    print("errors: bound, linear, available, completers, carried, mean", np.round(errors, 4).tolist())
    print("error at a shift of 0, and what the shift of 0.5 did beside its share", np.round(shifted, 4).tolist())
    assert np.all(np.mean(errors, axis=0) < -0.12)
    assert np.mean(shifted, axis=0)[0] < -0.12
    np.testing.assert_allclose(np.array(shifted)[:, 1], 0.0, atol=1e-9)

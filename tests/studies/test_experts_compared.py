"""Models of two kinds of lines against the truth and a table of errors by another program."""

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import multivariate_normal

import mefit as mf
from workshop.studies import experts_compared as study

# Mean squared errors for new people, by a program in NumPy made without the library, 10 replicates of 200 people and
# 400 new ones: marginal, and the last four rows given the first four; by the variance of the random effects.
TOLD = {
    0.5: {"truth": (2.579, 0.357), "experts": (2.601, 0.361), "flat": (2.601, 0.605), "one": (3.840, 0.488)},
    1.0: {"truth": (2.851, 0.428), "experts": (2.873, 0.432), "flat": (2.870, 0.944), "one": (4.121, 0.545)},
    2.0: {"truth": (3.407, 0.526), "experts": (3.432, 0.531), "flat": (3.432, 1.488), "one": (4.690, 0.621)},
}
NAMES = {"experts": "experts", "flat": "without random effects", "one": "one mixed model"}


def predicted(experts, shares, y, seen):
    """E[y | y seen] of people with these shares, by the Gaussian closed form; experts are (beta, omega, sigma)."""
    z = np.stack([np.ones(8), study.TIMES], axis=1)
    logs = []
    curves = []
    for beta, omega, sigma in experts:
        covariance = z[seen] @ omega @ z[seen].T + sigma**2 * np.eye(seen.sum())
        apart = y[:, seen] - z[seen] @ beta
        logs.append(multivariate_normal.logpdf(apart, cov=covariance) if seen.any() else np.zeros(len(y)))
        gain = omega @ z[seen].T @ np.linalg.inv(covariance) if seen.any() else np.zeros((2, 0))
        curves.append((beta + apart @ gain.T) @ z.T)
    each = np.log(shares) + np.stack(logs, axis=1)
    r = np.exp(each - each.max(axis=1, keepdims=True))
    r /= r.sum(axis=1, keepdims=True)
    return np.einsum("nk,knt->nt", r, np.stack(curves))


def errors(experts, shares, y):
    seen = study.TIMES <= study.SEEN
    marginal = np.mean((y - predicted(experts, shares, y, seen & False)) ** 2)
    forecast = np.mean((y - predicted(experts, shares, y, seen))[:, ~seen] ** 2)
    return marginal, forecast


def parts(model):
    whole = model.experts if isinstance(model, mf.MixtureOfExperts) else (model,)
    return [(np.asarray(e.beta), np.asarray(getattr(e, "omega", np.zeros((2, 2)))), float(e.sigma)) for e in whole]


@pytest.mark.slow
def test_what_it_predicts_is_the_closed_form():
    people = study.simulate(30, seed=3)
    model = study.truth(people)
    w = np.asarray(people.subjects.covariates["w"])
    shares = np.stack([1.0 - expit(2.0 * w), expit(2.0 * w)], axis=1)
    y = np.asarray(people.subjects.y)
    table = study.errors({"truth": model}, people)
    np.testing.assert_allclose(table.loc["truth"], errors(parts(model), shares, y), rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("spread", TOLD)
def test_the_table_of_another_program(spread):
    """Ten replicates side by side; ratios to the truth within 3.5 Monte Carlo errors of both programs together."""
    train = [study.simulate(200, 100 + number, spread) for number in range(10)]
    test = [study.simulate(400, 900 + number, spread) for number in range(10)]
    begun = study.starts(train[0], spread)
    found = {name: [] for name in TOLD[spread]}
    fits = {name: mf.fit_many(begun[full], train) for name, full in NAMES.items()}
    assert all(np.all(fit.converged) for fit in fits.values())
    gate = begun["experts"].gate.inputs
    for number, new in enumerate(test):
        y = np.asarray(new.subjects.y)
        w = np.asarray(new.subjects.covariates["w"])
        second = expit(2.0 * w)
        shares = np.stack([1.0 - second, second], axis=1)
        found["truth"].append(errors(parts(study.truth(new, spread)), shares, y))
        for name, fit in fits.items():
            model = fit.model(number)
            if name != "one":
                a, b = np.asarray(model.log_odds)[0]
                second = expit(a + b * (w - gate.centre[0]) / gate.spread[0])
                shares = np.stack([1.0 - second, second], axis=1)
            found[name].append(errors(parts(model), shares if name != "one" else np.ones((400, 1)), y))
    found = {name: np.array(values) for name, values in found.items()}
    for name, told in TOLD[spread].items():
        error = np.sqrt(2.0 / 10.0) * found[name].std(axis=0, ddof=1)
        assert np.all(np.abs(found[name].mean(axis=0) - told) < 3.5 * error), name
        ratio = found[name] / found["truth"]
        expected = np.array(told) / TOLD[spread]["truth"]
        error = np.sqrt(2.0 / 10.0) * ratio.std(axis=0, ddof=1)
        assert np.all(np.abs(ratio.mean(axis=0) - expected) < 3.5 * error + 0.001), name
    worse = np.mean(found["flat"][:, 1]) / np.mean(found["truth"][:, 1])
    assert 1.55 < worse < 3.1  # without random effects forecasts are 68 to 180% worse than with


@pytest.mark.slow
def test_all_competitors_on_one_split():
    """200 people fitted, 400 new. The truth's and the mixture's errors by SciPy; the order of the others is what each
    lacks: without random effects forecasts fail, without kinds or gate all else does, and a network is in between."""
    new = study.simulate(400, 901)
    table = study.compared(study.simulate(200, 101), new)
    assert table.index.tolist() == ["truth", *study.starts(new), "MeNet"] and len(table) == 7
    w = np.asarray(new.subjects.covariates["w"])
    shares = np.stack([1.0 - expit(2.0 * w), expit(2.0 * w)], axis=1)
    y = np.asarray(new.subjects.y)
    np.testing.assert_allclose(table.iloc[0, :2], errors(parts(study.truth(new)), shares, y), rtol=1e-9)
    worse = table[["marginal, % worse", "forecast, % worse"]]
    assert (worse.loc["experts"].abs() < 4.0).all()
    assert abs(worse.loc["without random effects"].iloc[0]) < 4.0 and worse.loc["without random effects"].iloc[1] > 80.0
    assert (worse.loc["one mixed model"] > [30.0, 10.0]).all()
    # w alone predicts a blend of two lines: with it a single model loses its disadvantage before any measurement
    for name in ("one, with covariates", "MeNet"):
        assert worse.loc["experts"].iloc[0] < worse.loc[name].iloc[0] < worse.loc["one mixed model"].iloc[0]
    assert worse.loc["without gate"].iloc[0] > 25.0
    assert (worse["forecast, % worse"].drop(["truth", "experts"]) > worse.loc["experts"].iloc[1]).all()

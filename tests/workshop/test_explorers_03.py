"""The explorers of lesson 03: their areas against quadrature, known numbers, and the library's own methods."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import test_stage
from jaxtyping import Array
from models import Logistic
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.special import comb

import mefit as mf
from workshop import explorers
from workshop.studies import one_density as theory

# The explorers' functions share their modules' names, so the modules are fetched by theirs.
one, binary, draws = (
    sys.modules[f"workshop.explorers.{name}"] for name in ("one_subject", "sparse_binary", "draws_needed")
)
STAGES = [explorers.sparse_binary, explorers.draws_needed]
ALL = [explorers.one_subject, *STAGES]


# One subject


class OnlyAbsorption(mf.Model):
    """The explorer's model for the library: ka alone has a random effect."""

    omega: Array = mf.positive()
    ka: Array = mf.positive()
    cl: Array = mf.positive()
    v: Array = mf.positive()
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(0.0, self.omega)

    def observations(self, eta, subject):
        ka = self.ka * jnp.exp(jnp.squeeze(eta))
        return dist.Normal(mf.pk.oral_one_compartment(subject, ka=ka, cl=self.cl, v=self.v), self.sigma)


def at_the_library(case: str, omega: float):
    i, rows, cl, v = theory._CASES[case]
    model = OnlyAbsorption(omega=omega, ka=theory.KA, cl=cl, v=v, sigma=theory.SIGMA)
    frame = mf.datasets.theophylline()[[i]].to_frame()
    left_out = np.setdiff1d(np.arange(11), rows)
    frame.loc[frame.index[frame.EVID == 0][left_out], "DV"] = np.nan  # one shape, so one compilation for all cases
    return model, mf.Population.from_frame(frame.drop(columns="MDV"))


def test_what_is_held_is_what_all_samples_say(fitted):
    fit = fitted(mf.Laplace())
    assert theory.KA == pytest.approx(float(fit.model.ka), abs=5e-3)
    assert theory.SIGMA == pytest.approx(float(fit.model.sigma), abs=5e-3)
    controls = explorers.one_subject().controls
    assert controls["omega"].value == pytest.approx(float(jnp.sqrt(fit.model.omega[0, 0])), abs=1e-2)
    for i, _, cl, v in theory._CASES.values():
        own = np.array([fit.model.cl, fit.model.v]) * np.exp(fit.eta[i, 1:])
        np.testing.assert_allclose([cl, v], own, rtol=5e-3)


@pytest.mark.parametrize("omega", [0.2, 0.66, 2.0])
@pytest.mark.parametrize("case", one.CASES)
def test_areas_against_the_library(case, omega):
    model, data = at_the_library(case, omega)
    found = one.compute(one.AGQ, case, omega, 50, 7)
    areas = dict(zip(one.METHODS, found.log_areas, strict=True))
    methods = {one.FO: mf.FO(), one.FOCE: mf.FOCE(), one.LAPLACE: mf.Laplace(), one.AGQ: mf.AGQ(nodes=7)}
    for name, method in methods.items():
        assert areas[name] == pytest.approx(mf.log_likelihood(model, data, method), abs=1e-8), name
    assert found.mode == pytest.approx(float(mf.empirical_bayes(model, data)[0][0, 0]), abs=1e-7)


@pytest.mark.parametrize("omega", [0.2, 0.66, 2.0])
@pytest.mark.parametrize("case", one.CASES)
def test_exact_area_by_another_quadrature(case, omega):
    found = one.compute(one.LAPLACE, case, omega, 50, 3)

    def density(eta):
        return float(np.exp(theory.log_joint(eta, case, omega) - found.log_exact))

    near = [found.mode - 0.5, found.mode, found.mode + 0.5]
    area = quad(density, -8 * omega, 8 * omega, points=near, epsabs=1e-11, limit=200)[0]
    assert area == pytest.approx(1.0, abs=1e-8)


def test_derivatives_of_the_concentration():
    eta, step = np.linspace(-2.0, 3.0, 11), 1e-4
    up, _, _ = one.concentration(eta + step, theory.ALL)
    f, first, second = one.concentration(eta, theory.ALL)
    down, _, _ = one.concentration(eta - step, theory.ALL)
    np.testing.assert_allclose(first, (up - down) / (2 * step), atol=1e-6)
    np.testing.assert_allclose(second, (up - 2 * f + down) / step**2, atol=1e-5)


def test_one_node_is_laplace_and_many_nodes_are_exact():
    single, many = (one.compute(one.AGQ, one.TWO, 0.66, 50, nodes) for nodes in (1, one.MOST_NODES))
    laplace, agq = one.METHODS.index(one.LAPLACE), one.METHODS.index(one.AGQ)
    assert single.log_areas[agq] == pytest.approx(single.log_areas[laplace], abs=1e-12)
    assert many.log_areas[agq] == pytest.approx(many.log_exact, abs=2e-4)


@pytest.mark.parametrize("case", one.CASES)
@pytest.mark.parametrize("method", [one.FO, one.FOCE, one.LAPLACE, one.AGQ])
def test_the_outline_that_is_drawn_has_the_area_that_is_said(method, case):
    found = one.compute(method, case, 0.66, 50, 5)
    drawn = np.trapezoid(found.height, found.x) / np.trapezoid(found.exact, one.GRID)
    said = np.exp(found.log_areas[one.METHODS.index(method)] - found.log_exact)
    assert drawn == pytest.approx(said, rel=2e-3)
    if method == one.AGQ:  # every node lies in its own bar
        edges = np.unique(found.x)
        assert np.all((edges[:-1] < found.points) & (found.points < edges[1:]))


@pytest.mark.parametrize("method", [0, 1])
def test_the_spread_of_the_samplers_is_that_of_repeated_draws(method, monkeypatch):
    names, rng, areas = ("_NORMAL", "_T"), np.random.default_rng(8), []
    for _ in range(200):
        new = rng.normal(size=100) if method == 0 else rng.standard_t(theory.FREEDOM, size=100)
        monkeypatch.setattr(theory, names[method], new)
        found = one.compute(one.LAPLACE, one.TWO, 0.66, 100, 3)
        areas.append(np.exp(found.log_areas[method] - found.log_exact))
    spread = found.relative_sd[method]
    assert np.std(areas) == pytest.approx(spread, rel=0.2)
    assert np.mean(areas) == pytest.approx(1.0, abs=4 * spread / np.sqrt(200))


def test_one_subject_says_its_area():
    foce = one.say(one.compute(one.FOCE, one.TWO, 0.66, 50, 3))
    assert foce.startswith(
        "FOCE: 161% of the exact area, an error of +0.474 in the log-likelihood.\n-5.393 in place of -5.867"
    )
    assert "Monte Carlo with 50 draws" in one.say(one.compute(one.MONTE_CARLO, one.TWO, 0.66, 50, 3))
    assert "AGQ with 1 node:" in one.say(one.compute(one.AGQ, one.TWO, 0.66, 50, 1))
    with pytest.raises(ValueError, match="must be positive, not 0"):
        one.compute(one.FO, one.TWO, 0.0, 50, 3)


@pytest.mark.parametrize("check", (*test_stage.OF_EVERY_STAGE, test_stage.check_a_sentence_has_three_numbers_at_most))
def test_one_subject_as_every_stage(check):
    check(lambda: explorers.one_subject().set(answer=True))  # without it, draws and nodes show where they are used


def test_areas_wait_for_the_answer_and_axes_stand_still():
    explorer = explorers.one_subject()

    def scene(**values):
        return test_stage.shown(explorer.set(**values))["scene"]

    def methods_shown(drawn):
        return {mark["cls"] for mark in drawn["marks"] if mark["panel"] == "areas" and mark["kind"] == "dots"}

    start = scene()["panels"]
    for method in one.METHODS:
        drawn = scene(method=method)
        assert methods_shown(drawn) == {one.MEANING[method]}
        assert (drawn["panels"] == start) == (method != one.FO)  # FO's curve is six times as high
    explorer.reset()
    for values in ({"case": one.ONE}, {"omega": 2.0}, {"omega": 0.2, "case": theory.ALL}, {"nodes": 15}):
        assert scene(**values)["panels"] == start
    assert methods_shown(scene(answer=True)) == set(one.MEANING.values())


def test_the_curve_beside_the_density_is_that_of_the_eta_that_is_held():
    for case in one.CASES:
        hours = one.data(case)[0]
        np.testing.assert_allclose(one.concentration(0.7, case, hours)[0], one.concentration(0.7, case)[0])
    found = one.compute(one.LAPLACE, one.TWO, 0.66, 50, 3, eta=0.7)
    marks = {mark.name: mark for mark in one.scene(found).marks if mark.panel in ("density", "data")}
    np.testing.assert_allclose(marks["here"].y, one.concentration(0.7, one.TWO, one.HOURS)[0])
    share = np.exp(theory.log_joint(0.7, one.TWO, 0.66) - theory.log_joint(found.mode, one.TWO, 0.66))
    assert marks["eta"].y == pytest.approx(share, rel=1e-3)


# Sparse binary data


@pytest.mark.parametrize(
    ("n", "k", "mode", "mean", "sd", "true_sd", "skewness", "variation"),
    [
        (5, 0, -2.128, -2.448, 1.174, 1.242, -0.471, 0.0755),
        (20, 0, -3.184, -3.510, 0.993, 1.063, -0.587, 0.0892),
        (20, 10, 0.0, 0.0, 0.4364, 0.4465, 0.0, 0.0078),
        (2, 0, -1.4815, -1.7377, 1.346, 1.4225, None, None),
    ],
)
def test_laplace_and_the_true_posterior(n, k, mode, mean, sd, true_sd, skewness, variation):
    found = binary.compute(n, k, 2.0)
    moments = (found.mode, found.mean, found.sd, found.true_sd)
    np.testing.assert_allclose(moments, (mode, mean, sd, true_sd), atol=6e-4)
    if variation is not None:
        assert found.skewness == pytest.approx(skewness, abs=6e-4)
        assert found.total_variation == pytest.approx(variation, abs=6e-5)


@pytest.mark.parametrize("omega", [0.2, 2.0, 5.0])
@pytest.mark.parametrize(("n", "k"), [(5, 0), (5, 3), (50, 50)])
def test_binary_areas_against_the_library(n, k, omega):
    found = binary.compute(n, k, omega)
    y = np.zeros((1, n))
    y[0, :k] = 1
    data = mf.datasets.clustered_binary(jax.random.key(0), 1, n).with_responses(y)
    # Not 0: at logits of exactly 0 the derivative of numpyro's Bernoulli is 0 or 1, where y - 1/2 would be right.
    model = Logistic(b0=1e-12, omega=omega)
    assert found.log_laplace == pytest.approx(mf.log_likelihood(model, data, mf.Laplace()), abs=1e-9)
    assert found.log_exact == pytest.approx(mf.log_likelihood(model, data, mf.AGQ(nodes=151)), abs=1e-7)
    assert found.mode == pytest.approx(float(mf.empirical_bayes(model, data)[0][0, 0]), abs=1e-7)


@pytest.mark.parametrize(("n", "limit"), [(2, 0.702), (3, 0.850), (5, 0.935), (10, 0.978)])
def test_where_laplace_sends_omega_with_endless_clusters(n, limit):
    k = np.arange(n + 1)
    share = np.array([comb(n, j) * np.exp(binary.compute(n, j, 1.0).log_exact) for j in k])
    assert share.sum() == pytest.approx(1.0, abs=1e-10)

    def loss(log_omega):
        omega = float(np.exp(log_omega[0]))
        return -share @ [binary.compute(n, int(j), omega).log_laplace for j in k]

    found = minimize(loss, [0.0], method="Nelder-Mead", options={"xatol": 1e-5, "fatol": 1e-12})
    assert np.exp(found.x[0]) == pytest.approx(limit, abs=6e-4)


def test_binary_says_both_areas_and_counts_by_kind():
    found, mirrored = binary.compute(5, 5, 2.0), binary._answered(no=5, yes=0, omega=2.0)
    assert (found.mode, found.log_exact) == pytest.approx((-mirrored.mode, mirrored.log_exact), abs=1e-12)
    text = binary.say(mirrored)
    assert "0 of 5 yes. Areas: 0.194, Laplace 0.1899" in text and "Total variation 0.0755" in text
    assert "Only no: the prior alone ends the curve on that side" in text and "97.9% of the exact one" in text
    assert "Only yes" in binary.say(found) and "Both kinds" in binary.say(binary.compute(20, 10, 2.0))
    for wrong in ((-1, 0, 1.0), (5, -1, 1.0), (5, 6, 1.0), (5, 1, 0.0)):
        with pytest.raises(ValueError, match="Needs 0 <= k <= n and a positive SD"):
            binary.compute(*wrong)


def test_without_an_answer_the_posterior_is_the_prior():
    found = binary.compute(0, 0, 1.7)
    assert (found.mode, found.sd, found.log_exact) == pytest.approx((0.0, 1.7, 0.0), abs=1e-9)
    assert found.total_variation == pytest.approx(0.0, abs=1e-9) and "Nobody has answered" in binary.say(found)


@pytest.mark.parametrize("yes", [0, 1])
def test_what_laplace_loses_of_two_answers_is_nothing_or_up_to_a_tenth(yes):
    lost = [1 - np.exp(f.log_laplace - f.log_exact) for f in (binary.compute(2, yes, w) for w in (0.2, 2.0, 5.0))]
    assert abs(lost[0]) < 1e-3 and lost[0] < lost[1] < lost[2] and 0.05 < lost[2] < 0.12


def test_two_posteriors_of_one_area_are_drawn():
    marks = {mark["id"]: mark for mark in binary.scene(binary.compute(5, 0, 2.0)).data()["marks"]}
    areas = [np.trapezoid(marks[name]["y"], binary._SHOWN) for name in ("exact", "gaussian")]
    assert areas[0] == pytest.approx(areas[1], rel=2e-3)
    gap = np.subtract(marks["difference"]["high"], marks["difference"]["low"])
    assert 0.5 * np.trapezoid(np.abs(gap), binary._SHOWN) / areas[0] == pytest.approx(0.0755, abs=1e-3)


@pytest.mark.parametrize(
    ("make", "moves"),
    [
        (explorers.sparse_binary, ({"no": 50}, {"yes": 10}, {"omega": 0.2}, {"omega": 5.0, "no": 0})),
        (explorers.draws_needed, ({"d": 20}, {"s": 0.1}, {"draws": 100.0}, {"s": 2.0, "d": 1})),
    ],
)
def test_axes_stand_still_under_every_control(make, moves):
    explorer = make()
    start = test_stage.shown(explorer)["scene"]["panels"]
    for move in moves:
        assert test_stage.shown(explorer.set(**move))["scene"]["panels"] == start


# Draws needed


@pytest.mark.parametrize(
    ("s", "centre", "average", "needed"),
    [
        (1.0, 1.1547, 2.0, (15.5, 33.3, 105, 321, 1680)),
        (0.5, 1.6667, 5.0, (66.7, 178, 1190, 1.64e4, 2.74e6)),
        (0.3, 2.5132, 12.11, (151, 532, 9930, 1.01e6, 1.0e10)),
        (0.1, 7.1240, 101, (612, 4980, 1.83e6, 3.37e10, 1.1e19)),
    ],
)
def test_draws_needed_for_ten_percent(s, centre, average, needed):
    assert draws.ratio_at_centre(s) == pytest.approx(centre, abs=5e-5)
    assert draws.ratio_on_average(s) == pytest.approx(average, abs=2e-3)
    found = draws.compute(3, s, 100)
    np.testing.assert_allclose(found.at_centre[[0, 1, 4, 9, 19]], needed, rtol=4e-2)  # as many digits as the table


def test_the_ratio_on_average_by_simulation():
    s, rng = 0.8, np.random.default_rng(1)
    y = np.sqrt(1 + s**2) * rng.normal(size=2000)

    def moment(power, at):
        width = s / np.sqrt(power)
        return width / np.sqrt(1 + width**2) * np.exp(-0.5 * at**2 / (1 + width**2))

    assert np.mean(moment(2, y) / moment(1, y) ** 2) == pytest.approx(draws.ratio_on_average(s), rel=0.05)


@pytest.mark.parametrize(("d", "bias", "spread"), [(1, 0.0, 0.08), (2, -0.02, 0.25), (5, -4.5, 4.1), (20, -241, 43)])
def test_what_a_thousand_draws_miss(d, bias, spread):
    error = draws.compute(d, 0.1, 1000).error
    assert error.mean() == pytest.approx(bias, abs=4 * spread / np.sqrt(draws.REPEATS))
    assert error.std() == pytest.approx(spread, rel=0.4)


def test_squared_lengths_do_for_draws_and_the_exact_value_is_exact():
    d, s, rng = 2, 0.5, np.random.default_rng(4)
    log_p = -0.5 * np.square(rng.normal(size=(1000, 60, d))).sum(-1) / s**2
    by_normals = np.log(np.exp(log_p).mean(0)) - draws.log_exact(d, s)
    mine = draws.compute(d, s, 1000).error
    assert mine.mean() == pytest.approx(by_normals.mean(), abs=4 * by_normals.std() * np.sqrt(2 / 60))
    assert mine.std() == pytest.approx(by_normals.std(), rel=0.35)
    assert mine.std() == pytest.approx(np.sqrt((draws.ratio_at_centre(s) ** d - 1) / 1000), rel=0.3)
    one_dimension = quad(lambda e: np.exp(-0.5 * e**2 * (1 + s**-2)) / np.sqrt(2 * np.pi), -9, 9)[0]
    assert draws.log_exact(d, s) == pytest.approx(d * np.log(one_dimension), abs=1e-9)


def test_draws_needed_says_so():
    text = draws.say(draws.compute(1, 1.0, 100))
    assert "takes about 15 draws at best, about 100 on average. Your 100 are enough for it at best." in text
    assert "15.5 draws at best, 100 on average. With d = 1 and 100 draws" in text
    assert "most draws miss the peak" in draws.say(draws.compute(10, 0.3, 1000))
    assert "1.1e+19 draws at best" in draws.say(draws.compute(20, 0.1, 100))
    with pytest.raises(ValueError, match="Needs d >= 1, draws >= 1 and a positive width"):
        draws.compute(3, 0.0, 100)


def test_estimates_out_of_sight_are_counted():
    def text(d):
        marks = draws.scene(draws.compute(d, 0.3, 1000)).data()["marks"]
        return next((mark["text"][0] for mark in marks if mark["id"] == "out"), "")

    far = draws.compute(20, 0.3, 1000).error
    assert text(1) == "" and f"{np.sum(far < draws._ERRORS[0])} of them further left, the mean at −12.6" in text(20)


# All, as every explorer


@pytest.mark.parametrize("make", STAGES)
@pytest.mark.parametrize("check", test_stage.OF_EVERY_STAGE)
def test_as_every_stage(check, make):
    check(make)


@pytest.mark.parametrize("make", ALL)
def test_the_edges_of_every_control(make):
    test_stage.assert_the_edges_hold(make)

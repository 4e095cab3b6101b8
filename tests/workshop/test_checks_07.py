"""The checks of lesson 07: wrong answers as learners write them, with the reason each gets, and right ones."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from planted import Table

import mefit as mf
from workshop.checks.engine import Checker, Wrong
from workshop.checks.lesson_07 import EXERCISES
from workshop.studies import saturable

check = Checker(lambda lesson: EXERCISES, None)

# ------------------------------------------------------------------------------------ answers, as they are written


def table(t, u, c):
    return np.array([[uj * ti + cj for uj, cj in zip(u, c, strict=True)] for ti in t])


def net(**parts):
    """A network with weights as in 07.6, and with the parts that are given."""
    given = {
        "centre": (70.0, 80.0),
        "spread": (15.0, 30.0),
        "shift": np.log(6.0),
        "scale": np.log(1.5),
        "link": jnp.exp,
    }
    return mf.networks.MLP(2, (6, 6), **(given | parts))


def counted(pairs):
    def size(inputs, hidden, outputs):
        return pairs([inputs, *hidden, outputs])

    return size


def weighed(fit, penalty):
    return [lambda s: (2 * s) ** -0.5, lambda y, f, sigma, w, s: fit(y - f, sigma) + s * penalty(w)]


def sum_of_squares(gap, sigma):
    return sum(gap**2) / 2 / sigma**2


PLANTED = [
    ("07.1", lambda t, u, c, v, b: b + table(t, u, c) @ v, "tanh is missing", 1),
    ("07.1", lambda t, u, c, v, b: np.tanh(table(t, u, c) @ v + b), "tanh is taken of the sum", 2),
    ("07.1", lambda t, u, c, v, b: b + (np.tanh(table(t, u, 0 * c)) + c) @ v, "outside of tanh", 2),
    ("07.1", lambda t, u, c, v, b: np.tanh(table(t, u, c)) @ v, "b, is missing", 2),
    ("07.1", lambda t, u, c, v, b: b + np.tanh(table(t, u, 0 * c)) @ v, "all bends sit at time 0", 2),
    ("07.1", lambda t, u, c, v, b: b + np.tanh(table(t, v, c)) @ u, "changed places", 1),
    ("07.1", lambda t, u, c, v, b: b + np.tanh(table(t, u, c)).sum(1), "v is missing", 1),
    ("07.1", lambda t, u, c, v, b: b + np.tanh(table(t, u, -c)) @ v, "sign of c", 2),
    ("07.1", lambda t, u, c, v, b: (b + np.tanh(table(t, u, c)) * v).sum(1), "once for every unit", 3),
    ("07.1", lambda t, u, c, v, b: b + (np.tanh(table(t, u, c)) * v).mean(1), "the mean of the bends", 3),
    ("07.1", lambda t, u, c, v, b: np.tanh(table(t, u, c)), "is asked for", 1),
    ("07.1", lambda t, u, c, v, b: b + np.tanh(u * (t[:, None] + c)) @ v, "u multiplies c as well", 2),
    ("07.1", lambda t, u, c, v, b: np.tanh(table(t, u, c) + b) @ v, "b went into the bends", 2),
    ("07.1", lambda t, u, c, v, b: np.tanh(table(t, u, 0 * c)) @ v, "Both kinds of biases", 2),
    ("07.1", lambda t, u, c, v, b: b + np.tanh(table(t, u, v)) @ c, "c and v have changed places", 2),
    ("07.1", lambda t, u, c, v, b: b + np.tanh(v * table(t, u, c)).sum(1), "v stands inside", 2),
    ("07.1", lambda t, u, c, v, b: b + jax.nn.sigmoid(table(t, u, c)) @ v, "from 0 to 1", 2),
    ("07.1", lambda t, u, c, v, b: b + np.tanh(t * u + c) @ v, "stopped on its line", None),
    ("07.2", counted(lambda n: sum(a * b for a, b in zip(n, n[1:], strict=False))), "biases are missing", 1),
    ("07.2", counted(sum), "These are the units", 1),
    ("07.2", counted(lambda n: sum(n[1:])), "biases alone", 1),
    (
        "07.2",
        counted(lambda n: sum((a + 1) * b for a, b in zip(n, n[1:], strict=False)) - n[-1]),
        "output has a bias",
        2,
    ),
    (
        "07.2",
        counted(lambda n: sum(a * b for a, b in zip(n, n[1:], strict=False)) + len(n) - 1),
        "every unit has its own",
        2,
    ),
    (
        "07.2",
        counted(lambda n: sum(a * b for a, b in zip(n, n[1:], strict=False)) + sum(n)),
        "What goes in has no biases",
        2,
    ),
    ("07.2", counted(lambda n: (n[0] + 1) * n[1] + (n[-2] + 1) * n[-1]), "between the hidden layers", 3),
    ("07.2", counted(lambda n: n[0] * n[1] + n[-2] * n[-1] + sum(n[1:])), "weights between the hidden", 3),
    ("07.2", lambda i, h, o: mf.networks.MLP(i, h[:2], o).size, "first two hidden layers", 3),
    ("07.2", lambda i, h, o: mf.networks.MLP(i, h, 1).size, "one number that comes out", 2),
    ("07.2", lambda i, h, o: mf.networks.MLP(i, h[:-1], h[-1]).size, "The last step is missing", 2),
    ("07.2", counted(lambda n: sum(a * (b + 1) for a, b in zip(n, n[1:], strict=False))), "where they begin", 1),
    ("07.2", counted(lambda n: sum((a + 1) * (b + 1) for a, b in zip(n, n[1:], strict=False))), "both sides", 1),
    ("07.2", counted(lambda n: int(np.prod(n))), "From pair to pair they add up", 2),
    ("07.3", [lambda s: 1 / 2 * s, None], "half of it", 1),
    ("07.3", [lambda s: 1 / np.sqrt(2) * s, None], "under the root", 1),
    ("07.3", [lambda s: s, None], "is no SD", 1),
    ("07.3", [lambda s: 2 * s, None], "a root is missing", 1),
    ("07.3", weighed(lambda g, s: g @ g / 2 * s**2, lambda w: w @ w), "Put brackets around it", 2),
    ("07.3", weighed(lambda g, s: -sum_of_squares(g, s), lambda w: w @ w), "misfit has the wrong sign", 2),
    ("07.3", weighed(sum_of_squares, lambda w: w @ w / 2), "a half too many", 2),
    ("07.3", weighed(sum_of_squares, lambda w: w.sum() ** 2), "The weights were added up", 3),
    ("07.3", weighed(lambda g, s: g.sum() ** 2 / 2 / s**2, lambda w: w @ w), "The gaps were added up", 3),
    ("07.3", weighed(lambda g, s: -dist.Normal(0.0, s).log_prob(g).sum(), lambda w: w @ w), "but for the constants", 2),
    ("07.3", weighed(lambda g, s: sum_of_squares(g, s) + len(g) * np.log(s), lambda w: w @ w), "the constants", 2),
    (
        "07.3",
        [
            lambda s: (2 * s) ** -0.5,
            lambda y, f, sd, w, s: (
                -dist.Normal(f, sd).log_prob(y).sum() - dist.Normal(0.0, (2 * s) ** -0.5).log_prob(w).sum()
            ),
        ],
        "but for the constants",
        2,
    ),
    ("07.3", [lambda s: (2 * s) ** -0.5, lambda y, f, sd, w, s: sum_of_squares(y - f, sd) + w @ w], "price of a", 2),
    (
        "07.3",
        [lambda s: (2 * s) ** -0.5, lambda y, f, sd, w, s: sum_of_squares(y - f, sd) + w @ w / 2 / s**2],
        "taken for the SD",
        1,
    ),
    ("07.3", [lambda s: 0.5 / s, None], "prior_sd: This is the variance", 1),
    ("07.3", [lambda s: s**-0.5, None], "over *twice*", 1),
    ("07.3", [lambda s: 1 / s, None], "solve for sd", 1),
    ("07.3", [lambda s: (2 * s) ** 0.5, None], "turned over", 1),
    ("07.3", [lambda s: s**0.5, None], "turned over", 1),
    ("07.3", [lambda s: (s / 2) ** 0.5, None], "turned over", 1),
    ("07.3", weighed(sum_of_squares, lambda w: 0.0), "prior_sd right. objective: The prior is missing", 2),
    ("07.3", weighed(sum_of_squares, lambda w: -(w @ w)), "wrong sign", 2),
    ("07.3", weighed(lambda g, s: 2 * sum_of_squares(g, s), lambda w: w @ w), "*twice* the variance", 2),
    ("07.3", weighed(lambda g, s: g @ g / 2 / s, lambda w: w @ w), "sigma is an SD", 2),
    ("07.3", weighed(lambda g, s: g @ g, lambda w: w @ w), "noise is missing", 2),
    ("07.3", weighed(lambda g, s: sum_of_squares(g, s) / len(g), lambda w: w @ w), "many points count no more", 3),
    ("07.3", weighed(sum_of_squares, lambda w: abs(w).sum()), "L1 penalty", 3),
    ("07.3", weighed(sum_of_squares, lambda w: (w @ w) ** 0.5), "root too many", 3),
    ("07.3", weighed(sum_of_squares, lambda w: w.sum()), "cancel", 3),
    ("07.3", weighed(sum_of_squares, lambda w: (w**2).mean()), "a sum, not a mean", 3),
    (
        "07.3",
        [lambda s: (2 * s) ** -0.5, lambda y, f, sd, w, s: -sum_of_squares(y - f, sd) - s * w @ w],
        "minus that",
        2,
    ),
    ("07.4", [1, 2, 3, 4], "Statement 3 is false", 2),
    ("07.4", [1, 2, 5, 4], "Statement 5 is false", 2),
    ("07.4", [1, 2, 6, 4], "Statement 6 is false", 1),
    ("07.4", {1, 2, 4, 8}, "Statement 8 is false", 1),
    ("07.4", [1, 2, 4], "Statement 7 is true", 3),
    ("07.4", [1, 2, 7], "Statement 4 is true", 3),
    ("07.4", [1, 4, 7, 7], "Statement 2 is true", 3),
    ("07.4", [2, 4, 7], "Statement 1 is true", 3),
    ("07.4", [1, 2, 4, 9], "from 1 to 8", 1),
    ("07.4", "1, 2, 4, 7", "in a list", 1),
    ("07.4", ["1", "2", "4", "7"], "without quotes", 1),
    ("07.4", [np.array([1, 2]), 4, 7], "without quotes", 1),
    ("07.4", np.array([1, 2, 4, 5]), "Statement 5 is false", 2),
    ("07.5", 3.0, "Give two things", 1),
    ("07.5", [3.0, ...], "not what mf.fit returns", 2),
    ("07.6", 6.0, "a network is asked for", 1),
    ("07.6", mf.networks.MLP(1), "Two numbers go in", 1),
    ("07.6", mf.networks.MLP(2, (6,), 2), "One number comes out", 1),
    ("07.6", net(centre=(80.0, 70.0)), "wrong way round", 1),
    ("07.6", net(spread=(30.0, 15.0)), "wrong way round", 1),
    ("07.6", net(centre=0.0), "centre should hold the means", 1),
    ("07.6", net(spread=1.0), "spread should hold the SDs", 1),
    ("07.6", net(shift=6.0, scale=3.0, link=lambda x: x), "can be negative", 2),
    ("07.6", net(shift=6.0), "undo the link", 3),
    ("07.6", net(shift=0.0), "is not the typical half-life.", 3),
    ("07.6", net(scale=0.05), "much less", 3),
    ("07.6", net(scale=3.0), "much more", 3),
    ("07.6", net(last=10.0), "leave `last`", 3),
    ("07.6", net(shift=6.0, scale=3.0, link=jax.nn.relu), "exactly zero", 2),
    ("07.6", net(scale=1.5), "that of the logarithm", 3),
    ("07.6", net(shift=np.log10(6.0)), "It is 2.2 h", 3),
]
RIGHT = [
    ("07.1", lambda t, u, c, v, b: b + np.tanh(table(t, u, c)) @ v),
    ("07.1", lambda t, u, c, v, b: [b + sum(v * np.tanh(u * one + c)) for one in t]),
    ("07.2", lambda i, h, o: mf.networks.MLP(i, h, o).size),
    ("07.2", counted(lambda n: sum(a * b + b for a, b in zip(n, n[1:], strict=False)))),
    ("07.3", weighed(sum_of_squares, lambda w: w @ w)),
    (
        "07.3",
        [
            lambda s: jnp.sqrt(0.5 / s),
            lambda y, f, sd, w, s: (
                -dist.Normal(f, sd).log_prob(y).sum()
                - len(y) * np.log(sd * np.sqrt(2 * np.pi))
                + s * sum(x**2 for x in w)
            ),
        ],
    ),
    ("07.4", [7, 4, 2, 1]),
    ("07.4", {1, 2, 4, 7}),
    ("07.4", np.array([1, 2, 4, 7])),
    ("07.6", net()),
    ("07.6", net(shift=6.0, scale=3.0, link=jax.nn.softplus)),
]

DOTS = {"07.3": [...] * 2, "07.4": [...] * 4, "07.5": [...] * 2, "07.6": ...}
TABLE = Table(exercises=EXERCISES, planted=PLANTED, right=RIGHT, dots=DOTS, elsewhere=("07.5",), numbers=True)


def test_what_comes_next_is_said():
    assert "the other statements" in check("07.4", [1, 2, ..., ...]).reason
    assert "prior_sd right. Next is objective" in check("07.3", [lambda s: (2 * s) ** -0.5, ...]).reason


# ------------------------------------------------------------------------------------ 07.5: a model, fitted


class Gap(mf.Model):
    """The model of the worked solution; what leaves is `sign` times the network and a `power` of the concentration."""

    net: mf.networks.MLP = mf.weights(prior=mf.networks.L2(1.0))
    ka: float = 1.0
    sign: float = 1.0
    power: float = 0.0

    def observations(self, eta, subject):
        def rhs(t, y):
            depot, c = y
            return [-self.ka * depot, self.ka * depot - self.sign * self.net(c) * c**self.power]

        states = mf.dynamics.solve(rhs, [0.0, 0.0], subject, solver=mf.dynamics.RK4(2))
        return dist.Normal(states[:, 1], saturable.SIGMA)


class OfTime(mf.Model):
    """Knows no doses."""

    net: mf.networks.MLP = mf.weights(prior=mf.networks.L2(0.1))

    def observations(self, eta, subject):
        return dist.Normal(self.net.along(subject.time), saturable.SIGMA)


@pytest.fixture(scope="module")
def fitted():
    start = Gap(net=mf.networks.MLP(1, centre=1.5, spread=1.0, shift=0.6, scale=0.4))
    method = mf.NaivePooled(optimiser=mf.BFGS(max_iterations=100))
    return mf.fit(start, saturable.patient_a(), method, progress=False)


NEW = saturable.patients([2.0, 10.0])


def test_a_gap_that_is_filled_is_right(fitted):
    verdict = check("07.5", [fitted, mf.predict(fitted.model, NEW)])
    assert verdict, verdict.text
    assert "Next is curves" in check("07.5", [fitted, ...]).reason


def test_a_gap_that_is_not_filled_gets_its_reason(fitted):
    def said(answer):
        verdict = check("07.5", answer)
        assert verdict.state == "wrong"
        return verdict.reason

    def instead(model):
        return [dataclasses.replace(fitted, model=model), ...]

    still = mf.networks.MLP(1, last=0.0)
    assert "(2, 21)" in said([fitted, mf.predict(fitted.model, saturable.patient_a())])
    assert "not what this fit predicts" in said([fitted, mf.predict(fitted.model, saturable.patients([10.0, 2.0]))])
    assert "not eliminated" in said(instead(Gap(net=still)))
    assert "far from the measurements" in said(instead(Gap(net=mf.networks.MLP(1, shift=0.2, last=0.0))))
    bare = OfTime(net=mf.networks.MLP(1, centre=5.0, spread=3.0, shift=1.5))
    of_time = mf.fit(bare, saturable.patient_a(), mf.NaivePooled(), progress=False)
    assert "network of time" in said([of_time, ...])

    class WithoutNetwork(mf.Model):
        def observations(self, eta, subject):
            return dist.Normal(0.0 * subject.time, 1.0)

    assert "no network" in said(instead(WithoutNetwork()))


@pytest.mark.parametrize("part, changed", [("wrong sign", {"sign": -1.0}), ("multiplied by", {"power": 1.0})])
def test_right_curves_by_a_network_that_is_something_else(part, changed):
    scales = {"centre": 1.5, "spread": 1.0, "shift": 0.6, "scale": 0.4}
    method = mf.NaivePooled(optimiser=mf.BFGS(max_iterations=100))
    fit = mf.fit(Gap(net=mf.networks.MLP(1, **scales), **changed), saturable.patient_a(), method, progress=False)
    verdict = check("07.5", [fit, mf.predict(fit.model, NEW)])
    assert verdict.state == "wrong" and verdict.hint == 1, verdict.text
    assert "The curves are right" in verdict.reason and part in verdict.reason, verdict.text


def test_the_network_sees_the_concentration_only():
    from workshop.checks import models_07

    with pytest.raises(Wrong, match="more than the concentration"):
        models_07._judge_elimination(mf.networks.MLP(2))
    with pytest.raises(Wrong, match="alone is what leaves"):
        models_07._judge_elimination(mf.networks.MLP(1, shift=3.0, last=0.0))


def test_the_judge_of_new_doses(fitted, monkeypatch):
    """A model that is right at 5 mg only: its curves under other doses are those under 5, scaled."""

    def predict(model, population):
        doses = np.asarray(population.subjects.doses.amount)[:, :1]
        return saturable.truth([5.0]) * (doses / 5.0) ** 0.6

    from workshop.checks import models_07

    monkeypatch.setattr(models_07.mf, "predict", predict)
    verdict = check("07.5", [fitted, ...])
    assert (
        verdict.state == "wrong" and "the larger dose is not predicted" in verdict.reason or "smaller" in verdict.reason
    )


def test_the_study_is_what_the_library_says():
    exact = Gap(net=mf.networks.MLP(1, (1,), link=lambda x: x))

    class Truth(mf.Model):
        def observations(self, eta, subject):
            def rhs(t, y):
                return [-y[0], y[0] - saturable.VMAX * y[1] / (saturable.KM + y[1])]

            return dist.Normal(mf.dynamics.solve(rhs, [0.0, 0.0], subject)[:, 1], 0.1)

    assert exact.ka == saturable.KA
    found = mf.predict(Truth(), NEW)
    np.testing.assert_allclose(saturable.truth([2.0, 10.0]), found, atol=1e-5)
    assert re.match(r"drug", saturable.patient_a().y_label)

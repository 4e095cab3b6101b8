"""What JAX does quietly with a model's own code: places beyond an array, and rows that are padding."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jaxtyping import Array

import mefit as mf
from mefit.base.jaxprs import line_of

TIMES = [0.5, 1.0, 2.0, 4.0]


class Line(mf.Model):
    """Two random effects, of level and slope; how they are looked up is what subclasses differ in."""

    beta: Array = mf.real()
    omega: Array = mf.diagonal_covariance(names=("level", "slope"))
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(2), self.omega)

    def line(self, eta, subject):
        return self.beta[0] + eta[0] + (self.beta[1] + eta[1]) * subject.time

    def observations(self, eta, subject):
        return dist.Normal(self.line(eta, subject), self.sigma)


class FromOne(Line):
    def line(self, eta, subject):
        return self.beta[0] + eta[1] + (self.beta[1] + eta[2]) * subject.time


class BeforeTheFirst(Line):
    def line(self, eta, subject):
        return eta[-3] + subject.time


class OfAParameter(Line):
    def line(self, eta, subject):
        return self.beta[2] + eta[0] * subject.time


class OfAList(Line):
    def line(self, eta, subject):
        return eta[np.array([0, 2])].sum() + subject.time


class OfAMatrix(Line):
    def line(self, eta, subject):
        return self.omega[1, 2] + eta[0] * subject.time


class Set(Line):
    def line(self, eta, subject):
        level = jnp.zeros(2).at[2].set(eta[0])
        return level[0] + subject.time


class InEquations(Line):
    def line(self, eta, subject):
        def rhs(t, y):
            return [-y[0], y[2] * jnp.exp(eta[0])]

        return mf.dynamics.solve(rhs, jnp.ones(2), subject)[:, 1]


class OfOccasions(Line):
    def line(self, eta, subject):
        return self.beta[0] + eta[subject.covariates["occasion"].astype(int)] + self.beta[1] * subject.time


class Searched(Line):
    """Where is found by what is fitted, and beyond the last time on purpose."""

    def line(self, eta, subject):
        return self.beta[0] + subject.time[jnp.searchsorted(subject.time, 10.0 + eta[0])] + 0.0 * subject.time


class Clipped(Line):
    def line(self, eta, subject):
        return jnp.take(eta, 5, mode="clip") + subject.time


def start(kind):
    return kind(beta=jnp.array([1.0, 0.5]), omega=jnp.diag(jnp.array([0.3, 0.1])), sigma=0.2)


def people(occasions=2, of_the_fourth=None):
    """Six of four rows, on as many occasions; the fourth of them on others."""
    rows = []
    for i in range(1, 7):
        count = of_the_fourth if i == 4 and of_the_fourth else occasions
        rows += [(i, t, 1.0 + 0.3 * i + t, 1 + row % count) for row, t in enumerate(TIMES)]
    return mf.Population.from_frame(pd.DataFrame(rows, columns=["ID", "TIME", "DV", "OCC"]), amount=None)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (FromOne, r"FromOne asks for place 2 of an array of 2, at `return self.beta\[0\] \+ eta\[1\] .*eta\[2\]"),
        (BeforeTheFirst, r"asks for a place before the first of an array of 2, at `return eta\[-3\]"),
        (OfAParameter, r"asks for place 2 of an array of 2, at `return self.beta\[2\]"),
        (OfAList, "asks for place 2 of an array of 2"),
        (OfAMatrix, "asks for place 2 of an array of 2"),
        (Set, r"asks for place 2 of an array of 2, at `level = jnp.zeros\(2\).at\[2\]"),
        (InEquations, r"asks for place 2 of an array of 2, at `return \[-y\[0\], y\[2\]"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_place_that_an_array_has_not_is_refused(kind, words):
    with pytest.raises(ValueError, match=words):
        mf.fit(start(kind), people(), mf.Laplace(), progress=False)


def test_an_occasion_that_the_model_has_no_effect_for_is_refused():
    """JAX would give the third occasion the effect of the second."""
    words = "OfOccasions asks for subject 1 for place 2 of an array of 2, .* as many places as they need"
    with pytest.raises(ValueError, match=words):
        mf.fit(start(OfOccasions), people(3), mf.Laplace(), progress=False)


def test_whoever_has_too_many_occasions_is_named():
    with pytest.raises(ValueError, match="for subject 4 for place 2"):
        mf.predict(start(OfOccasions), people(2, of_the_fourth=3))


@pytest.mark.parametrize("kind", [Line, OfOccasions, Searched, Clipped])
def test_places_that_are_there_or_are_meant_are_left_alone(kind):
    assert np.all(np.isfinite(mf.predict(start(kind), people())))


@pytest.mark.parametrize(
    "ask",
    [
        lambda model, data, key: mf.fit(model, data, mf.SAEM(), key=key, progress=False),
        lambda model, data, key: mf.log_likelihood(model, data, mf.FO()),
        lambda model, data, key: mf.simulate(model, data, key),
        lambda model, data, key: mf.predict(model, data),
        lambda model, data, key: mf.empirical_bayes(model, data),
        lambda model, data, key: mf.individual(model, data, key=key),
        lambda model, data, key: next(mf.iterate(model, data, mf.FO())),
    ],
    ids=["fit", "log_likelihood", "simulate", "predict", "empirical_bayes", "individual", "iterate"],
)
def test_every_door_refuses(ask):
    with pytest.raises(ValueError, match="places are counted from 0, so that the last is 1"):
        ask(start(FromOne), people(), jax.random.key(0))


def test_new_people_of_a_fit_are_looked_at_too():
    fit = mf.fit(start(OfOccasions), people(2), mf.FO(), progress=False)
    for ask in (mf.predictions, mf.residuals):
        with pytest.raises(ValueError, match="for subject 1 for place 2"):
            ask(fit, population=people(3))


def test_the_experts_of_a_mixture_are_looked_at():
    mixed = mf.MixtureOfExperts((start(Line), start(FromOne)))
    with pytest.raises(ValueError, match="asks for place 2 of an array of 2"):
        mf.fit(mixed, people(), mf.EM(), key=jax.random.key(0), progress=False)


def test_it_may_stand_inside_a_program():
    data = people()

    def value(beta):
        model = OfOccasions(beta=beta, omega=jnp.diag(jnp.array([0.3, 0.1])), sigma=0.2)
        return mf.log_density(model, data, mf.FO())

    assert np.all(np.isfinite(jax.jit(jax.grad(value))(jnp.array([1.0, 0.5]))))


class Centred(Line):
    """Time is counted from the middle of a person's own rows: of all that are there."""

    def middle(self, subject):
        return jnp.mean(subject.time)

    def line(self, eta, subject):
        return self.beta[0] + eta[0] + (self.beta[1] + eta[1]) * (subject.time - self.middle(subject))


class CentredOnReal(Centred):
    def middle(self, subject):
        return jnp.mean(subject.time, where=subject.real)


class Scaled(Centred):
    def middle(self, subject):
        return jnp.max(subject.time)  # padding repeats the last


class ByHand(Centred):
    def middle(self, subject):
        return subject.time @ jnp.ones(subject.time.size) / subject.time.size


class Recursive(Line):
    """A sum from row to row, which padding at the end does not reach."""

    def line(self, eta, subject):
        return jnp.cumsum(subject.time) * (self.beta[1] + eta[1]) + eta[0] + self.beta[0]


class OfDoses(Line):
    def line(self, eta, subject):
        return self.beta[0] + eta[0] + subject.doses.time.mean() + (self.beta[1] + eta[1]) * subject.time


def unequal(doses=False):
    """Four people of two to four rows; with doses, of as many doses."""
    rows = []
    for i in range(1, 5):
        count = 2 + i % 3
        if doses:
            rows += [(i, 0.1 * k, np.nan, 10.0) for k in range(count)]
        rows += [(i, t, 1.0 + 0.3 * i + t, np.nan) for t in TIMES[: 4 if doses else count]]
    return mf.Population.from_frame(pd.DataFrame(rows, columns=["ID", "TIME", "DV", "AMT"]))


@pytest.mark.parametrize("kind", [Centred, ByHand])
def test_a_mean_over_rows_that_counts_padding_is_refused(kind):
    words = f"{kind.__name__} joins the rows or doses of subject 3 at `return .*: leave these out, as by jnp.mean"
    with pytest.raises(ValueError, match=words):
        mf.fit(start(kind), unequal(), mf.FOCE(), progress=False)


def test_it_is_refused_where_the_start_does_not_show_it():
    flat = Centred(beta=jnp.array([1.0, 0.0]), omega=jnp.diag(jnp.array([0.3, 0.1])), sigma=0.2)
    with pytest.raises(ValueError, match="Centred joins the rows or doses of subject 3"):
        mf.log_likelihood(flat, unequal(), mf.FO())


def test_doses_that_are_padding_are_not_counted_either():
    with pytest.raises(ValueError, match="OfDoses joins the rows or doses of subject 3 at .*subject.doses.time.mean"):
        mf.predict(start(OfDoses), unequal(doses=True))


@pytest.mark.parametrize("kind", [CentredOnReal, Scaled, Recursive])
def test_what_padding_does_not_change_is_left_alone(kind):
    """The likelihood of each person is what it is alone, without padding."""
    data = unequal()
    together = mf.log_likelihood(start(kind), data, mf.FO(), by_subject=True)
    alone = [mf.log_likelihood(start(kind), mf.Population.from_subjects([data[i]]), mf.FO()) for i in range(len(data))]
    np.testing.assert_allclose(together, alone, rtol=1e-10)


def test_people_of_as_many_rows_have_no_padding():
    assert np.isfinite(mf.log_likelihood(start(Centred), people(), mf.FO()))


class FromTheFirst(Line):
    """The first response is taken for the level."""

    def level(self, subject):
        return subject.y[0]

    def line(self, eta, subject):
        return self.level(subject) + eta[0] + (self.beta[1] + eta[1]) * subject.time + self.beta[0]


class FromTheFirstSeen(FromTheFirst):
    def level(self, subject):
        return subject.y[jnp.argmax(subject.mask)]


def with_a_gap():
    frame = people().to_frame()
    frame.loc[(frame.ID == 5) & (frame.TIME == TIMES[0]), "DV"] = np.nan
    return mf.Population.from_frame(frame, amount=None)


def test_a_missing_response_is_not_read_as_0():
    words = "FromTheFirst reads responses of subject 5 that are missing, and stand as 0, at `return subject.y"
    with pytest.raises(ValueError, match=words):
        mf.fit(start(FromTheFirst), with_a_gap(), mf.FOCE(), progress=False)


def test_responses_that_were_seen_may_be_read():
    for kind, data in ((FromTheFirst, people()), (FromTheFirstSeen, with_a_gap())):
        assert np.isfinite(mf.log_likelihood(start(kind), data, mf.FO()))


def test_responses_that_are_read_are_not_simulated():
    """A simulation would read the old responses beside those that it draws."""
    words = "FromTheFirst reads responses, at `return subject.y.*, and a simulation draws each row"
    with pytest.raises(ValueError, match=words):
        mf.simulate(start(FromTheFirst), people(), jax.random.key(0))
    fit = mf.fit(start(FromTheFirst), people(), mf.FO(), progress=False)
    with pytest.raises(ValueError, match=words):
        mf.vpc(fit, key=jax.random.key(0), samples=10)


@pytest.mark.parametrize("kind", [Centred, CentredOnReal, ByHand, Scaled, FromTheFirstSeen])
def test_what_hangs_on_a_persons_other_rows_has_no_curve(kind):
    """Over a finer grid the mean of all times would be that of the grid."""
    with pytest.raises(ValueError, match=f"{kind.__name__} predicts a row from a person's other rows, at `return "):
        mf.predict(start(kind), people(1), time=np.linspace(0.0, 4.0, 9))


def test_nor_has_it_one_for_an_individual():
    known = mf.individual(start(CentredOnReal), people(1), draws=20, key=jax.random.key(0))
    with pytest.raises(ValueError, match="CentredOnReal predicts a row from a person's other rows"):
        known.curves(np.linspace(0.0, 4.0, 9))


def test_room_that_is_made_for_more_samples_is_padding_too():
    with pytest.raises(ValueError, match="Centred joins the rows or doses of subject 1"):
        mf.individual(start(Centred), people(), draws=20, key=jax.random.key(0))


@pytest.mark.parametrize("kind", [Line, Clipped, Recursive])
def test_other_curves_are_what_they_were(kind):
    grid = np.asarray(TIMES)
    model = start(kind)
    np.testing.assert_allclose(mf.predict(model, people(1), time=grid), mf.predict(model, people(1)), rtol=1e-12)


def test_what_is_followed_by_a_larger_program_is_left_to_it():
    grid = np.linspace(0.0, 4.0, 3)
    made = jax.jit(lambda beta: mf.predict(dataclasses.replace(start(CentredOnReal), beta=beta), data, time=grid))
    data = people(1)
    assert np.all(np.isfinite(made(jnp.array([1.0, 0.5]))))


@pytest.mark.parametrize(
    ("folder", "says"),
    [("models", "x[5]"), ("python/site-packages/numpyro", None), ("python/site-packages/mefit", None)],
)
def test_only_the_line_of_whoever_wrote_the_model_is_told(folder, says, tmp_path, monkeypatch):
    """Where libraries lie within Python's own folder, as with conda, they are told from JAX all the same."""
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path / "python"))
    file = tmp_path / folder / "code.py"
    file.parent.mkdir(parents=True)
    file.write_text("def asks(x):\n    return x[5]\n")
    scope: dict = {}
    exec(compile(file.read_text(), str(file), "exec"), scope)
    closed = jax.make_jaxpr(scope["asks"])(jnp.zeros(3))
    lines = {line_of(eqn) for eqn in closed.jaxpr.eqns}
    assert lines == {says and f"return {says}"}


def in_other_units(model, data, factor):
    """The same people, model and responses, with responses in a unit that makes the numbers larger by a factor."""
    omega = factor**2 * model.omega
    scaled = dataclasses.replace(model, beta=factor * model.beta, omega=omega, sigma=factor * model.sigma)
    frame = data.to_frame()
    frame["DV"] = factor * frame.DV
    return scaled, mf.Population.from_frame(frame, amount=None)


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_what_is_refused_is_refused_in_every_unit(factor):
    flat = Centred(beta=jnp.array([1.0, 0.0]), omega=jnp.diag(jnp.array([0.3, 0.1])), sigma=0.2)
    with pytest.raises(ValueError, match="Centred joins the rows or doses of subject 3"):
        mf.log_likelihood(*in_other_units(flat, unequal(), factor), mf.FO())
    with pytest.raises(ValueError, match="reads responses of subject 5 that are missing"):
        mf.log_likelihood(*in_other_units(start(FromTheFirst), with_a_gap(), factor), mf.FO())
    for kind in (CentredOnReal, Scaled, Recursive):
        assert np.isfinite(mf.log_likelihood(*in_other_units(start(kind), unequal(), factor), mf.FO()))


class Two(Line):
    """Two outcomes, of which one is counted from the other's first response."""

    def observations(self, eta, subject):
        line = self.line(eta, subject)
        first = subject.y["a"][0]
        return {"a": dist.Normal(line, self.sigma), "b": dist.Normal(line + first, self.sigma)}


def test_of_several_outcomes_each_is_looked_at():
    rows = [(i, t, name, 1.0 + t) for i in range(1, 4) for t in TIMES for name in ("a", "b")]
    frame = pd.DataFrame(rows, columns=["ID", "TIME", "DVID", "DV"])
    for who in (None, 2):
        if who:
            frame.loc[(frame.ID == who) & (frame.TIME == TIMES[0]) & (frame.DVID == "a"), "DV"] = np.nan
        data = mf.Population.from_frame(frame, amount=None)
        if who is None:
            assert np.isfinite(mf.log_likelihood(start(Two), data, mf.Laplace()))
        else:
            with pytest.raises(ValueError, match="Two reads responses of subject 2 that are missing"):
                mf.log_likelihood(start(Two), data[np.array([1])], mf.Laplace())

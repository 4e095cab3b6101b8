"""What a person gets to read whose model stops on what JAX cannot do: a sentence, with the line, and what to do."""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jaxtyping import Array
from models import Additive

import mefit as mf
from mefit.base.plainly import plainly

START = {"ka": 1.5, "cl": 0.04, "v": 0.5, "omega": 0.1 * np.eye(3), "sigma": 0.7}


def density(mean):
    """The observations of a model with this mean."""
    return lambda self, eta, subject: dist.Normal(mean(self, eta, subject), self.sigma)


def _if(self, eta, subject):
    ka = self.ka * jnp.exp(eta[0])
    if ka > 3:
        ka = 3.0
    return dist.Normal(ka * subject.time, self.sigma)


def _assigned(self, eta, subject):
    mean = subject.time * eta[0]
    mean[0] = 1.0
    return dist.Normal(mean, self.sigma)


def _inside_an_ode(self, eta, subject):
    def rhs(t, y):
        return [-np.exp(eta[0]) * y[0]]

    return dist.Normal(mf.dynamics.solve(rhs, [1.0], subject)[:, 0], self.sigma)


def _several_values(self, eta, subject):
    t = subject.time
    return dist.Normal(jnp.sum(t[t > eta[0]]) * t, self.sigma)


MISTAKES = {
    "np": (
        density(lambda self, eta, s: np.exp(eta[0]) * s.time),
        r"stopped at `.*np\.exp\(eta\[0\]\).*`: NumPy cannot take what is fitted; write jnp for np",
    ),
    "math": (density(lambda self, eta, s: math.exp(eta[0]) * s.time), "float, int and math cannot take what is fitted"),
    "float": (density(lambda self, eta, s: float(eta[0]) * s.time), "float, int and math cannot take what is fitted"),
    "if": (_if, r"stopped at `if ka > 3:`: `if`, `and` or `max` decides by what is fitted; use jnp\.where"),
    "max": (density(lambda self, eta, s: max(eta[0], eta[1]) * s.time), "`max` decides by what is fitted"),
    "range": (density(lambda self, eta, s: sum(range(eta.astype(int)[0])) * s.time), "a list or a range needs a place"),
    "rows": (_several_values, "how many rows a condition picks is not known at once; keep all"),
    "assignment": (_assigned, r"stopped at `mean\[0\] = 1\.0`: an array of jnp is never changed"),
    "inside an ODE": (_inside_an_ode, r"stopped at `return \[-np\.exp\(eta\[0\]\) \* y\[0\]\]`: NumPy cannot take"),
    "shapes": (
        density(lambda self, eta, s: s.time * jnp.ones(5)),
        r"arrays of shapes \(11,\) and \(5,\) do not go together",
    ),
    "a place": (
        density(lambda self, eta, s: s.time * jnp.ones(3)[s.time[0]]),
        r"stopped at `.*`: an array is asked for a place that is no whole number; make it one by x\.astype\(int\)",
    ),
    "rows left out": (
        density(lambda self, eta, s: s.time[1:]),
        r"returns shape \(10,\) for 11 times: give one entry a time",
    ),
    "no density": (lambda self, eta, s: s.time, r"returns no distribution: end it with one, such as return dist"),
    "no return": (lambda self, eta, s: None, "returns nothing: end it with one, such as return dist"),
}


@pytest.mark.parametrize("what", MISTAKES)
@pytest.mark.parametrize("method", [mf.FO(), mf.Laplace()], ids=lambda method: method.label)
def test_a_model_that_stops_says_where_and_what_to_do(what, method):
    observations, sentence = MISTAKES[what]
    mistaken = type("Mistaken", (Additive,), {"observations": observations})
    with pytest.raises(ValueError, match=rf"^Mistaken\.observations .*{sentence}"):
        mf.fit(mistaken(**START), mf.datasets.theophylline(), method, progress=False)


def test_so_do_its_random_effects_and_its_simulation():
    def random_effects(self):
        return dist.Normal(jnp.zeros(3), np.sqrt(self.sigma) * np.ones(3))

    mistaken = type("Mistaken", (Additive,), {"random_effects": random_effects})(**START)
    for act in (
        lambda: mf.fit(mistaken, mf.datasets.theophylline(), mf.Laplace(), progress=False),
        lambda: mf.simulate(mistaken, mf.datasets.theophylline(), key=jax.random.key(1)),
    ):
        with pytest.raises(
            ValueError, match=r"^Mistaken\.random_effects stopped at `return dist\.Normal.*NumPy cannot"
        ):
            act()


def test_mistakes_that_python_tells_well_stay_as_they_are():
    mistaken = type("Mistaken", (Additive,), {"observations": density(lambda self, eta, s: self.kaa * s.time)})
    with pytest.raises(AttributeError, match="kaa"):
        mf.fit(mistaken(**START), mf.datasets.theophylline(), mf.Laplace(), progress=False)


def test_a_field_without_its_type_is_refused():
    with pytest.raises(ValueError, match=r"^Untyped\.slope has no type, .* write slope: Array = "):

        class Untyped(Additive):
            slope = mf.real()

    with pytest.raises(ValueError, match=r"^Network\.net has no type, .* net: mf\.networks\.MLP = mf\.weights\(\)"):

        class Network(mf.Model):
            sigma: Array = mf.positive()
            net = mf.weights()


def test_a_model_without_its_density_is_refused():
    class Misspelled(mf.Model):
        sigma: Array = mf.positive()

        def observation(self, eta, subject):
            return dist.Normal(0.0, self.sigma)

    with pytest.raises(ValueError, match=r"^Misspelled has no method observations\(self, eta, subject\)"):
        Misspelled(sigma=1.0)


def test_what_no_fit_would_move_is_refused():
    class Bare(Additive):
        slope: Array = mf.positive

    class Loose(Additive):
        net: mf.networks.MLP

    with pytest.raises(ValueError, match=r"Bare\.slope is not declared, .* write slope: \.\.\. = mf\.positive\(\)"):
        Bare(slope=1.0, **START)
    with pytest.raises(ValueError, match=r"Loose\.net is not declared, .* write net: \.\.\. = mf\.weights\(\)"):
        Loose(net=mf.networks.MLP(1), **START)

    class Data(Additive):
        solver: mf.dynamics.Tsit5
        grid: Array

    assert Data(solver=mf.dynamics.Tsit5(), grid=jnp.ones(3), **START).grid.shape == (3,)  # constants stay welcome


@pytest.mark.parametrize("part", ["objective", "likelihood_by"])
def test_a_method_inside_a_method_needs_its_brackets_too(part):
    method = mf.Adam() if part == "objective" else mf.SAEM()
    object.__setattr__(method, part, mf.FOCE)  # in these tests the type of an argument is looked at before
    with pytest.raises(ValueError, match=r"must be made first: write mf\.FOCE\(\) with its brackets"):
        mf.fit(Additive(**START), mf.datasets.theophylline(), method, key=jax.random.key(1), progress=False)


@pytest.mark.parametrize("np_", [np, jnp], ids=["NumPy", "JAX"])
@pytest.mark.parametrize(
    "act, said",
    [
        (lambda np_: np_.ones(3) + np_.ones(4), "of shapes (3,) and (4,)"),
        (lambda np_: np_.dot(np_.ones(3), np_.ones(4)), "of shapes (3,) and (4,)"),
        (lambda np_: np_.ones((5, 4)) @ np_.ones(3), ("where 3 meets 4", "of shapes (4,) and (3,)")),
        (lambda np_: np_.stack([np_.ones(3), np_.ones(4)]), "arrays"),
        (lambda np_: np_.concatenate([np_.ones((5, 4)), np_.ones(3)]), "arrays"),
        (lambda np_: np_.array([[1, 2], [3]]), "rows of different lengths"),
        (lambda np_: 1 if np_.ones(3) > 0 else 0, "a whole array"),
        (lambda np_: math.exp(np_.ones(3)), "functions of math take numbers"),
    ],
)  # fmt: skip
def test_the_words_of_each_library_are_known(np_, act, said):
    with pytest.raises((TypeError, ValueError)) as raised:
        act(np_)
    plain = plainly(raised.value)
    assert plain and any(part in plain for part in ((said,) if isinstance(said, str) else said)), raised.value
    assert re.search(r"; \w+", plain)  # and what to do


@pytest.mark.parametrize(
    "act",
    [
        lambda: jnp.take_along_axis(jnp.ones((3, 2)), jnp.ones((3, 1)), 1),
        lambda: jnp.take(jnp.ones(3), jnp.ones(2)),
        lambda: jnp.ones(3)[1.0],
        lambda: jnp.ones(3).at[jnp.ones(1)].set(2.0),
        lambda: jax.lax.switch(jnp.asarray(1.0), [lambda: 1, lambda: 2]),
        lambda: np.take_along_axis(np.ones((3, 2)), np.ones((3, 1)), 1),
        lambda: np.ones(3)[1.0],
        lambda: np.ones(3)[np.ones(2)],
        lambda: dist.Categorical(logits=jnp.ones((3, 4))).log_prob(jnp.ones(3)),
        lambda: dist.OrderedLogistic(jnp.ones(3), jnp.arange(2.0)).log_prob(jnp.ones(3)),
    ],
)
def test_a_place_that_is_no_whole_number(act):
    with pytest.raises((TypeError, ValueError, IndexError)) as raised:
        act()
    plain = "an array is asked for a place that is no whole number; make it one by x.astype(int)"
    assert plainly(raised.value) == plain


def test_other_complaints_are_left_to_python():
    assert plainly(NameError("name 'x' is not defined")) is None
    assert plainly(TypeError("list indices must be integers or slices, not str")) is None
    assert plainly(ValueError("negative dimensions are not allowed")) is None


def shown_in_a_notebook(cells: list[str]) -> list[str]:
    """What IPython shows of the error that the last of these cells ends with, without its colours."""
    interactive = pytest.importorskip("IPython.core.interactiveshell")
    shell = interactive.InteractiveShell()
    shell.history_manager.enabled = False
    shown: list[str] = []
    shell._showtraceback = lambda kind, value, lines: shown.extend(lines)
    for cell in cells:
        result = shell.run_cell(cell)
    assert not result.success
    return [re.sub(r"\x1b\[\d+m", "", line) for line in shown]


FIRST_CELL = """\
import jax.numpy as jnp
import mefit as mf
import numpyro.distributions as dist
from jaxtyping import Array"""


def test_a_notebook_shows_the_sentence_of_a_class_that_is_wrong_and_its_line():
    untyped = "class Untyped(mf.Model):\n    slope = mf.real()"
    shown = shown_in_a_notebook([FIRST_CELL, untyped])
    assert shown[0].startswith("ValueError: Untyped.slope has no type, which every field needs: write ")
    assert shown[1:] == ["    in line 1:  class Untyped(mf.Model):"]

    misspelled = "class Misspelled(mf.Model):\n    def observation(self, eta, subject): ...\n\nmodel = Misspelled()"
    shown = shown_in_a_notebook([FIRST_CELL, misspelled])
    assert shown[0].startswith("ValueError: Misspelled has no method observations(self, eta, subject), ")
    assert shown[1:] == ["    in line 4:  model = Misspelled()"]


def test_a_notebook_shows_the_sentence_of_a_model_that_stops_in_a_fit():
    model = """\
class Deciding(mf.Model):
    sigma: Array = mf.positive()

    def observations(self, eta, subject):
        if self.sigma > 1:
            return dist.Normal(subject.time, self.sigma)

def fit_it():
    return mf.fit(Deciding(sigma=2.0), mf.datasets.theophylline(), mf.JointMLE(), progress=False)
"""
    shown = shown_in_a_notebook([FIRST_CELL, model, "fit_it()"])
    assert shown[0].startswith("ValueError: Deciding.observations stopped at `if self.sigma > 1:`: ")
    assert [line.partition(":")[0] for line in shown[1:]] == ["    in line 1", "    in line 9"]


def test_a_fault_of_ones_own_keeps_its_whole_traceback():
    model = """\
class Faulty(mf.Model):
    sigma: Array = mf.positive()

    def __init__(self):
        self.sigma = float("one")

    def observations(self, eta, subject): ...

Faulty()
"""
    shown = shown_in_a_notebook([FIRST_CELL, model])
    assert "Traceback" in shown[1]
    assert any('float("one")' in lines for lines in shown)

"""A fit that is killed goes on in the next process, and ends at the same digits."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from experts import mixture, sixty
from jaxtyping import Array
from models import Line

import mefit as mf
from mefit.fitting import checkpoint
from mefit.methods.choice import as_method
from mefit.model.space import Space

HOME = Path(__file__).resolve().parents[2]


class Prior(Line):
    """The line, its slopes with a prior; the rest is held fixed."""

    beta: Array = mf.real(names=("intercept", "slope"), prior=dist.Normal(0.0, 1000.0))


class Killed(BaseException):
    """As sudden as `kill -9`: `fit` does not catch it."""


def counted(monkeypatch, method, population, last=None):
    """Count the steps of a method; with `last`, the process ends instead of the step after so many."""
    kind = type(as_method(method, population))
    step = kind.step
    steps = []

    def one(self, problem, state):
        if len(steps) == last:
            raise Killed
        steps.append(state.iteration)
        return step(self, problem, state)

    monkeypatch.setattr(kind, "step", one)
    return steps


def numbers(fit):
    whole = [Space(fit.model).vector(), fit.eta, fit.log_likelihood, [step.minus_two_objective for step in fit.history]]
    if fit.draws is not None:
        whole.append(fit.draws.eta)
    if fit.saem is not None:
        whole.append(fit.saem.trajectory)
    return [np.asarray(part) for part in whole]


METHODS = {
    "BFGS": mf.Laplace(),
    "Adam": mf.Adam(mf.FOCE(), steps=40, block=5, batch=2),
    "SAEM": mf.SAEM(chains=2, exploration=60, smoothing=20, block=10, stop_early=False, likelihood_by=mf.FOCE()),
    "NUTS": mf.NUTS(warmup=40, samples=20, chains=2, block=10, likelihood_by=mf.FO()),
    "EM": mf.EM(starts=2),
}


EACH = [name if name in ("BFGS", "SAEM") else pytest.param(name, marks=pytest.mark.slow) for name in METHODS]


@pytest.mark.parametrize("name", EACH)
def test_it_goes_on_and_ends_at_the_same_digits(name, tmp_path, monkeypatch, line_model, linear_population):
    method = METHODS[name]
    model = line_model
    people = linear_population
    fixed = ()
    if name == "NUTS":
        model = Prior(beta=line_model.beta, omega=line_model.omega, sigma=line_model.sigma)
        fixed = ("omega", "sigma")
    if name == "EM":
        people, _ = sixty()
        model = mixture(people)
    asked = {"key": jax.random.key(1), "fixed": fixed, "progress": False}
    with monkeypatch.context() as patched:
        steps = counted(patched, method, people)
        whole = mf.fit(model, people, method, **asked)
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)
    half = len(steps) // 2
    with monkeypatch.context() as patched:
        counted(patched, method, people, last=half)
        with pytest.raises(Killed):
            mf.fit(model, people, method, **asked, checkpoint=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["state.mefit"]
    with monkeypatch.context() as patched:
        left = counted(patched, method, people)
        again = mf.fit(model, people, method, **asked, checkpoint=tmp_path)
    assert left == steps[half:]  # nothing was done twice
    for one, other in zip(numbers(whole), numbers(again), strict=True):
        np.testing.assert_array_equal(one, other)
    assert (again.message, again.ending, again.evaluations) == (whole.message, whole.ending, whole.evaluations)
    assert list(tmp_path.iterdir()) == []  # it is over


CODE = """
import os, signal, sys
import jax
import mefit as mf
from mefit.fitting import checkpoint
from mefit.methods.choice import as_method
from test_checkpoint import numbers, task

checkpoint.EVERY = 0.0
folder, names, last = sys.argv[1], sys.argv[2].split(","), int(sys.argv[3])


def watched(method, last):
    # Counts the steps of a method; before the step of this number the process is killed.
    kind = type(method)
    step = kind.step

    def one(self, problem, state):
        one.steps += 1
        if one.steps == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(self, problem, state)

    one.steps = 0
    kind.step = one
    return one


for name in names:
    model, people, method, asked = task(name)
    count = watched(as_method(method, people), last)
    fit = mf.fit(model, people, method, **asked, checkpoint=os.path.join(folder, name) if folder else None)
    digits = [number.hex() for part in numbers(fit) for number in part.astype(float).ravel().tolist()]
    print(name, count.steps, *digits)
"""


def task(name):
    """A fit by the method of this name: model, people, method, and what else is asked."""
    if name == "EM":
        people, _ = sixty()
        return mixture(people), people, METHODS[name], {"key": jax.random.key(1), "progress": False}
    beta = jnp.array([245.0, 9.0])
    kind = Prior if name == "NUTS" else Line
    model = kind(beta=beta, omega=jnp.array([[400.0, 20.0], [20.0, 30.0]]), sigma=14.0)
    fixed = ("omega", "sigma") if name == "NUTS" else ()
    asked = {"key": jax.random.key(1), "fixed": fixed, "progress": False}
    method = mf.FO() if name == "BFGS" else METHODS[name]  # which compiles in less time than Laplace
    return model, mf.datasets.sleepstudy(), method, asked


def by_processes(folder, names, last):
    """The code in a process of its own: how it ended, and of each fit the number of steps and all digits."""
    paths = (str(HOME), str(HOME / "tests"), str(HOME / "tests/fitting"), os.environ.get("PYTHONPATH"))
    command = [sys.executable, "-c", CODE, str(folder), ",".join(names), str(last)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    found = {name: (int(steps), digits) for name, steps, *digits in map(str.split, done.stdout.splitlines())}
    return done.returncode, found, done.stderr


def killed_and_begun_again(tmp_path, names):
    """Every fit is killed before its third step, goes on in another process, and is compared with one that was not."""
    for name in names:
        assert by_processes(tmp_path, [name], 3)[0] == -9
        assert [path.name for path in (tmp_path / name).iterdir()] == ["state.mefit"]
    code, again, said = by_processes(tmp_path, names, -1)
    assert code == 0, said
    _, whole, _ = by_processes("", names, -1)
    for name in names:
        assert again[name][1] == whole[name][1]
        assert again[name][0] == whole[name][0] - 2  # the steps before were not done anew


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_after_kill_9_another_process_goes_on(tmp_path):
    killed_and_begun_again(tmp_path, ["BFGS"])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_after_kill_9_every_algorithm_goes_on(tmp_path):
    killed_and_begun_again(tmp_path, [name for name in METHODS if name != "BFGS"])


def test_a_full_disk_is_said_at_the_beginning_and_the_fit_goes_on(tmp_path, monkeypatch, line_model, linear_population):
    said = []

    def full(descriptor):
        said.append(descriptor)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint.os, "fsync", full)
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)
    with pytest.warns(
        UserWarning, match=r"cannot be kept in .* \(No space left on device: make room.*it goes on"
    ) as told:
        fit = mf.fit(line_model, linear_population, mf.FO(), progress=False, checkpoint=tmp_path / "new")
    assert len(told) == 1 and len(said) > 1 and fit.converged
    assert list((tmp_path / "new").iterdir()) == []


def test_a_folder_that_cannot_be_read_is_a_sentence_before_anything_is_done(tmp_path, line_model, linear_population):
    (tmp_path / "file").touch()
    (tmp_path / "folder" / "state.mefit").mkdir(parents=True)
    for name in ("file", "folder"):
        with pytest.raises(ValueError, match=r"checkpoint='.*' cannot be read \(.*\): name another folder\."):
            mf.fit(line_model, linear_population, mf.FO(), progress=False, checkpoint=tmp_path / name)


def test_another_fit_is_told_apart_and_damage_is_noticed(tmp_path, monkeypatch, line_model, linear_population):
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)

    def killed(method, people=linear_population, last=2):
        with monkeypatch.context() as patched:
            counted(patched, method, people, last=last)
            with pytest.raises(Killed):
                mf.fit(line_model, people, method, progress=False, checkpoint=tmp_path)

    killed(mf.FO())
    for method, people in ((mf.FO(scale_limit=1e5), linear_population), (mf.FO(), linear_population[:4])):
        with pytest.raises(ValueError, match="holds the state of another fit"):
            mf.fit(line_model, people, method, progress=False, checkpoint=tmp_path)
    place = tmp_path / "state.mefit"
    place.write_bytes(place.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="is damaged: the fit begins anew"):
        fit = mf.fit(line_model, linear_population, mf.FO(), progress=False, checkpoint=tmp_path)
    assert fit.converged and fit.history[0].iteration == 0

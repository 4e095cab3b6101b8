"""Work that is stopped by a person or by an error, at every stage: the best so far comes back with one sentence."""

import dataclasses
import types

import jax
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jaxtyping import Array
from models import Means

import mefit as mf
from mefit.base import stopping
from mefit.inference import profile as profiles
from mefit.inference import resampling
from mefit.methods.choice import as_method

INTERRUPTED = mf.Ending.INTERRUPTED
FAILED = mf.Ending.FAILED


class Steady(Means):
    """With proper priors, which NUTS needs."""

    mu: Array = mf.real(prior=dist.Normal(0.0, 100.0))
    omega: Array = mf.positive(prior=dist.HalfNormal(10.0))
    sigma: Array = mf.positive(prior=dist.HalfNormal(10.0))


MODEL = Steady(mu=3.0, omega=2.0, sigma=2.0)
METHODS = {
    "Laplace": mf.Laplace(),
    "TwoStage": mf.TwoStage(),
    "JointMLE": mf.JointMLE(),
    "Variational": mf.Variational(nodes=3),
    "Adam": mf.Adam(mf.FO(), steps=60, block=20),
    "SAEM": mf.SAEM(chains=2, exploration=40, smoothing=60, block=20, likelihood_by=mf.Laplace()),
    "NUTS": mf.NUTS(chains=2, warmup=20, samples=60, block=20),
}


def data(subjects=8, rows=3):
    rng = np.random.default_rng(5)
    ids = np.repeat(np.arange(subjects) + 1, rows)
    y = 5.0 + rng.normal(size=subjects)[ids - 1] + 0.5 * rng.normal(size=ids.size)
    return mf.Population.from_frame(pd.DataFrame({"ID": ids, "TIME": np.tile(np.arange(rows), subjects), "DV": y}))


PEOPLE = data()


def stopped_at(monkeypatch, owner, name, call, error=KeyboardInterrupt):
    """The method of `owner` raises at its call of this number, counted from 1."""
    own = getattr(owner, name)
    calls = []

    def stopping_there(*given, **named):
        calls.append(given)
        if len(calls) == call:
            raise error
        return own(*given, **named)

    monkeypatch.setattr(owner, name, stopping_there)
    return calls


def fitted(method, **options):
    return mf.fit(MODEL, PEOPLE, method, key=jax.random.key(0), **({"progress": False} | options))


@pytest.fixture(scope="module")
def fit():
    return fitted(mf.Laplace())


# ---------------------------------------------------------------- a fit


@pytest.mark.parametrize("name", METHODS)
def test_an_interrupt_of_any_method_at_any_stage(name, monkeypatch):
    """While it begins, nothing is known; in its steps or at its end the last step's model comes back."""
    method = METHODS[name]
    kind = type(as_method(method, PEOPLE))
    with monkeypatch.context() as patch:
        stopped_at(patch, kind, "init", 1)
        with pytest.raises(KeyboardInterrupt, match="there is no result yet"):
            fitted(method)
    stages = [("step", 2, "after")] if name != "JointMLE" else []
    for stage, call, words in (*stages, ("finish", 1, "what is worked out at the end")):
        with monkeypatch.context() as patch:
            stopped_at(patch, kind, stage, call)
            found = fitted(method)
        assert found.ending is INTERRUPTED and not found.converged
        assert found.message.startswith("interrupted after") and words in found.message
        assert found.history[-1].model == found.model
        told = str(found) + found._repr_html_()
        assert "NOT CONVERGED: interrupted" in told and "nan" not in told.lower()
        if name == "NUTS":
            assert len(found.draws) > 0 and "draws are kept" in found.message and np.isfinite(found.eta).all()
        if name == "SAEM":
            assert len(found.trajectory) > 1
        if name == "Adam":
            again = fitted(dataclasses.replace(method, resume=found))
            assert float(again.model.mu) == pytest.approx(float(fitted(method).model.mu), rel=1e-12)
    assert (found.log_likelihood != found.log_likelihood) and len(found.eta) == len(PEOPLE)


@pytest.mark.parametrize(("stage", "call"), [("step", 3), ("finish", 1)])
def test_an_error_in_the_middle_keeps_what_was_found(stage, call, monkeypatch):
    """A method's error after its first iteration: not an answer, but not a loss of hours either."""
    method = METHODS["SAEM"]
    stopped_at(monkeypatch, type(method), stage, call, MemoryError("no room for 9 GB\nsecond line"))
    found = fitted(method)
    assert found.ending is FAILED and not found.converged and found.history[-1].model == found.model
    assert "stopped by an error (MemoryError: no room for 9 GB) after" in found.message and "\n" not in found.message
    with pytest.raises(ValueError, match="has not converged"):
        mf.bootstrap(found, 10, key=jax.random.key(0))


def test_an_error_at_the_beginning_is_raised(monkeypatch):
    stopped_at(monkeypatch, mf.SAEM, "step", 1, RuntimeError("a slip"))
    with pytest.raises(RuntimeError, match="a slip"):
        fitted(METHODS["SAEM"])


def test_a_second_interrupt_while_the_end_is_worked_out(monkeypatch):
    method = METHODS["SAEM"]
    stopped_at(monkeypatch, mf.SAEM, "step", 3)
    stopped_at(monkeypatch, mf.SAEM, "finish", 1)
    found = fitted(method)
    assert found.ending is INTERRUPTED and "interrupted after 40 iterations: these are the best values" in found.message


class Spied(Means):
    """Python code that XLA calls back, as a user's own may be."""

    def observations(self, eta, subject):
        jax.debug.callback(LISTENER, self.mu)
        return super().observations(eta, subject)


def LISTENER(value):
    LISTENER.calls += 1
    if LISTENER.calls > LISTENER.most:
        raise LISTENER.error("the sensor is off")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_code_of_the_user_that_raises_while_it_is_called_back(error, caplog):
    LISTENER.calls, LISTENER.most, LISTENER.error = 0, 10**9, error
    model = Spied(mu=3.0, omega=2.0, sigma=2.0)
    assert mf.fit(model, PEOPLE, mf.FO(), progress=False).converged
    LISTENER.calls, LISTENER.most = 0, LISTENER.calls // 2
    found = mf.fit(model, PEOPLE, mf.FO(), progress=False)
    why = "interrupted" if error is KeyboardInterrupt else "stopped by an error (RuntimeError: the sensor is off)"
    assert found.message.startswith(f"{why} after") and "\n" not in found.message
    assert not found.converged and np.isfinite(float(found.model.mu))


def test_a_consumer_of_the_steps_that_raises_spoils_nothing():
    steps = mf.iterate(MODEL, PEOPLE, mf.Laplace())
    with pytest.raises(ZeroDivisionError):
        for _ in steps:
            _ = 1 / 0
    assert fitted(mf.Laplace()).converged


@pytest.mark.parametrize("broken", ["begin", "update", "set_postfix_str", "__exit__"])
def test_a_progress_bar_that_fails_ends_no_fit(broken, monkeypatch, fit):
    """A closed terminal, or widgets that are not installed."""

    def fails(*given, **named):
        raise OSError("the terminal is gone")

    bar = types.SimpleNamespace(update=lambda *a: None, __enter__=lambda: None, __exit__=lambda *a: None)
    bar.set_postfix_str = bar.set_description_str = lambda *a, **k: None
    setattr(bar, broken, fails)
    monkeypatch.setattr(stopping, "progress_line", fails if broken == "begin" else lambda *labels, **options: bar)
    found = fitted(mf.Laplace(), progress=True)
    assert found.converged and found.minus_two_log_likelihood == fit.minus_two_log_likelihood
    assert len(mf.bootstrap(found, 10, key=jax.random.key(0)).draws) == 10


# ---------------------------------------------------------------- what comes after a fit


def test_a_bootstrap_that_is_stopped_keeps_its_replicates(fit, monkeypatch):
    """By a person, or by a group of refits that fails; while it is summed up, an interrupt comes too late."""
    whole = mf.bootstrap(fit, 150, key=jax.random.key(1), progress=False)
    monkeypatch.setattr(resampling, "_SOON", 0.0)  # groups of 50, however fast they are
    for error, why in (
        (KeyboardInterrupt, "interrupted"),
        (MemoryError("full"), "stopped by an error (MemoryError: full)"),
    ):
        with monkeypatch.context() as patch:
            stopped_at(patch, resampling, "maximise_many", 3, error)
            part = mf.bootstrap(fit, 150, key=jax.random.key(1), progress=False)
        assert part.remarks[0] == f"{why}: 100 of 150 replicates were done."
        pd.testing.assert_frame_equal(part.draws, whole.draws[:100])
    for error in (KeyboardInterrupt, MemoryError):
        with monkeypatch.context() as patch:
            stopped_at(patch, resampling, "maximise_many", 1, error)
            with pytest.raises(error):
                mf.bootstrap(fit, 150, key=jax.random.key(1), progress=False)
    stopped_at(monkeypatch, resampling, "_from_draws", 1)
    pd.testing.assert_frame_equal(mf.bootstrap(fit, 150, key=jax.random.key(1), progress=False).draws, whole.draws)


def test_a_refit_that_meets_no_number_is_left_out_and_said(fit, monkeypatch):
    refit = resampling.maximise_many

    def poisoned(pairs, centre, root, weights):
        refits = refit(pairs, centre, root, weights)
        gradient = refits.gradient.copy()
        gradient[2] = np.nan
        return refits._replace(x=np.where(np.isnan(gradient)[:, None], np.nan, refits.x), gradient=gradient)

    monkeypatch.setattr(resampling, "maximise_many", poisoned)
    found = mf.bootstrap(fit, 20, key=jax.random.key(1), progress=False)
    assert len(found.draws) == 19 and np.isfinite(found.table.se).all()
    assert found.remarks == ("1 of 20 replicates did not converge and are left out.",)


def test_sir_that_is_stopped_resamples_what_is_done(fit, monkeypatch):
    monkeypatch.setattr(resampling, "_SOON", 0.0)  # groups of 50, however fast they are
    stopped_at(monkeypatch, resampling.Pairs, "total", 5)
    found = mf.sir(fit, 400, 300, key=jax.random.key(1), progress=False)
    assert len(found.draws) == 150 and found.draws.duplicated().sum() == 0
    assert found.remarks[:2] == ("interrupted: 200 of 400 samples were done.", "150 in place of 300 are resampled.")


def test_a_profile_that_is_stopped_keeps_its_points(fit, monkeypatch):
    whole = mf.profile(fit, "mu", points=5, progress=False)
    at_the_ends = len(whole.curve)
    solved = stopped_at(monkeypatch, profiles._Walk, "_solve", 10**9)
    mf.profile(fit, "mu", points=5, progress=False)
    count = len(solved)
    for call, low, high in ((count, True, True), (count // 2, True, False), (2, False, False)):
        with monkeypatch.context() as patch:
            stopped_at(patch, profiles._Walk, "_solve", call)
            part = mf.profile(fit, "mu", points=5, progress=False)
        assert part.low == whole.low if low else np.isnan(part.low)
        assert part.high == whole.high if high else np.isnan(part.high)
        assert part.remarks[0].startswith(f"interrupted: {call} points of the profile were done")
        assert len(part.curve) == call and at_the_ends == 5
    with monkeypatch.context() as patch:
        stopped_at(patch, profiles._Walk, "_solve", 1)
        with pytest.raises(KeyboardInterrupt, match="no result yet"):
            mf.profile(fit, "mu", points=5, progress=False)
    stopped_at(monkeypatch, profiles._Walk, "_solve", count, ValueError("could not be followed"))
    part = mf.profile(fit, "mu", points=5, progress=False)
    assert (part.low, part.high) == (whole.low, whole.high) and "could not be followed" in part.remarks[0]


def test_a_check_of_simulations_that_is_stopped(fit, monkeypatch):
    """Fewer data sets make a band all the same; what needs them all says how far it came."""
    from mefit.diagnosis import simulations

    stopped_at(monkeypatch, simulations, "_replicates", 3)
    found = mf.vpc(fit, samples=200, bins=2, key=jax.random.key(1))
    assert found.remarks == ("interrupted: 100 of 200 data sets were simulated.",)
    assert np.isfinite(found.simulated[["low", "median", "high"]]).all(axis=None)
    stopped_at(monkeypatch, simulations, "_replicates", 2)
    with pytest.raises(KeyboardInterrupt, match="50 of 200 simulated data sets were done, which is no result yet"):
        simulations.simulations(fit, 200, jax.random.key(1))


def test_errors_in_one_line():
    assert stopping.in_one_line(ValueError()) == "ValueError"
    assert stopping.in_one_line(RuntimeError("a\nb")) == "RuntimeError: a"
    passed_on = RuntimeError(
        "INTERNAL: CpuCallback error: Traceback (most recent call last):\n  File x\nKeyError: 'wt'"
    )
    assert stopping.in_one_line(passed_on) == "KeyError: 'wt'"
    assert len(stopping.in_one_line(ValueError("x" * 1000))) == 200

"""The same numbers on one device, on two and on four."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HOME = Path(__file__).resolve().parents[2]
CODE = """
import json
import warnings

import jax
import jax.numpy as jnp
import numpy as np

import mefit as mf
from experts import KEY, lines, mixture
from mefit.base.devices import count_of, using
from mefit.diagnosis.simulations import simulations
from mefit.model.space import Space
from mefit.objectives.evaluation import batches_of, evaluate, information, terms_of
from mefit.objectives.side_by_side import look, pool_of
from models import Line

model = Line(beta=jnp.array([245.0, 9.0]), omega=jnp.array([[400.0, 20.0], [20.0, 30.0]]), sigma=14.0)
times = [np.arange(3.0 + i % 5) for i in range(150)]
people = [mf.Subject(t, 0.0 * t, np.ones(len(t)), {}) for t in times]
people = mf.simulate(model, mf.Population.from_subjects(people), jax.random.key(3))
few = people[np.arange(9)]
two_lines = lines(40, seed=0)[0]
space = Space(model)


def told(tree):
    return [np.ravel(np.asarray(leaf, float)).tolist() for leaf in jax.tree.leaves(tree)]


def at_points():
    some = mixture(two_lines)
    space = Space(some)
    x = space.vector() + 0.1 * np.sin(np.arange(5.0 * space.vector().size)).reshape(5, -1)
    return look(mf.Laplace(), space, pool_of(mf.Laplace(), some, [two_lines], None), x, room=5)


def fitted(devices, people, method):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return mf.fit(model, people, method, key=KEY, progress=False, devices=devices)


def on(devices):
    out = {}
    with using(devices):
        batches = batches_of(mf.Laplace(), model, people, None)
        used = count_of(batches.mesh)
        out["value, gradient, prior and terms"] = told(evaluate(mf.Laplace(), space, space.vector(), batches))
        out["terms"] = told(terms_of(mf.Laplace(), model, people))
        out["information"] = told(information(mf.FO(), space, people, None))
        out["points of a mixture"] = told(at_points())
    fit = fitted(devices, people, mf.Laplace())
    out["log-likelihood"] = [[fit.log_likelihood]]
    out["estimates"] = told((Space(fit.model).vector(), fit.eta))
    with using(devices):
        out["bootstrap"] = told(mf.bootstrap(fit, 4, key=jax.random.key(1), progress=False).draws.to_numpy())
        out["simulated"] = told(simulations(fit, 7, KEY))
    adam = fitted(devices, people, mf.Adam(mf.FO(), steps=6, block=3, batch=130))
    out["Adam"] = told((adam.curve.objective, Space(adam.model).vector()))
    saem = fitted(devices, few, mf.SAEM(chains=2, exploration=4, smoothing=4, block=4, likelihood_by=mf.FO()))
    out["SAEM"] = told((saem.saem.trajectory, saem.saem.eta_draws))
    nuts = fitted(devices, few, mf.NUTS(warmup=4, samples=4, block=4, chains=3, max_tree_depth=3))
    out["NUTS"] = told((nuts.draws.frame, nuts.draws.eta))
    return used, out


print(json.dumps({devices: on(devices) for devices in (1, 2, 4)}))
"""


@pytest.fixture(scope="module")
def on_devices():
    """What each number of devices computes, in a process that has four."""
    path = os.pathsep.join(filter(None, (str(HOME), str(HOME / "tests"), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path, "JAX_NUM_CPU_DEVICES": "4"}
    done = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("devices", [2, 4])
def test_numbers_do_not_depend_on_the_number_of_devices(on_devices, devices):
    """150 subjects of 3 to 7 rows are five chunks, so that one or three of those that are dealt are empty; so are
    some shares of 9 subjects, 7 data sets, 5 points and 3 chains."""
    _, alone = on_devices["1"]
    used, many = on_devices[str(devices)]
    assert used == devices
    for what, numbers in many.items():
        tolerance = 1e-9 if what in ("estimates", "bootstrap") else 1e-12
        for one, other in zip(alone[what], numbers, strict=True):
            size = np.nanmax(np.abs(one))
            assert np.all(np.isnan(one) == np.isnan(other)), what
            assert np.nanmax(np.abs(np.subtract(one, other))) <= tolerance * size, what

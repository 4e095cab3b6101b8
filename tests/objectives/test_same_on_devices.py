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
import sys

import jax
import jax.numpy as jnp
import numpy as np

import mefit as mf
from mefit.base.devices import count_of, using
from mefit.model.space import Space
from mefit.objectives.evaluation import batches_of, evaluate, information, terms_of
from models import Line

devices = int(sys.argv[1])
model = Line(beta=jnp.array([245.0, 9.0]), omega=jnp.array([[400.0, 20.0], [20.0, 30.0]]), sigma=14.0)
times = [np.arange(3.0 + i % 5) for i in range(150)]
people = [mf.Subject(t, 0.0 * t, np.ones(len(t)), {}) for t in times]
people = mf.simulate(model, mf.Population.from_subjects(people), jax.random.key(3))
space = Space(model)
out = {"devices": jax.local_device_count()}


def told(tree):
    return [np.ravel(np.asarray(leaf, float)).tolist() for leaf in jax.tree.leaves(tree)]


with using(devices):
    batches = batches_of(mf.Laplace(), model, people, None)
    out["used"] = count_of(batches.mesh)
    out["value, gradient, prior and terms"] = told(evaluate(mf.Laplace(), space, space.vector(), batches))
    out["terms"] = told(terms_of(mf.Laplace(), model, people))
    out["information"] = told(information(mf.FO(), space, people, None))
fit = mf.fit(model, people, mf.Laplace(), progress=False, devices=devices)
out["log-likelihood"] = [[fit.log_likelihood]]
out["estimates"] = told((Space(fit.model).vector(), fit.eta))
with using(devices):
    out["bootstrap"] = told(mf.bootstrap(fit, 4, key=jax.random.key(1), progress=False).draws.to_numpy())
print(json.dumps(out))
"""


def told(devices):
    path = os.pathsep.join(filter(None, (str(HOME), str(HOME / "tests"), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path, "JAX_NUM_CPU_DEVICES": str(devices)}
    command = [sys.executable, "-c", CODE, str(devices)]
    return json.loads(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


@pytest.fixture(scope="module")
def alone():
    return told(1)


@pytest.mark.parametrize("devices", [2, 4])
def test_numbers_do_not_depend_on_the_number_of_devices(alone, devices):
    """150 subjects of 3 to 7 rows are five chunks, so that one or three of those that are dealt are empty."""
    many = told(devices)
    assert (alone["devices"], alone["used"], many["devices"], many["used"]) == (1, 1, devices, devices)
    for what in many.keys() - {"devices", "used"}:
        tolerance = 1e-9 if what in ("estimates", "bootstrap") else 1e-12
        for one, other in zip(alone[what], many[what], strict=True):
            size = np.max(np.abs(one))
            assert np.max(np.abs(np.subtract(one, other))) <= tolerance * size, what

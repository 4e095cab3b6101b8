"""The same numbers on one device, on two and on four."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HOME = Path(__file__).resolve().parents[2]
BEGIN = """
import json
import tempfile
import warnings

import jax
import jax.numpy as jnp
import numpy as np

import mefit as mf
from experts import KEY, lines, mixture
from mefit.base.dealing import dealt_out, one_by_one
from mefit.base.devices import count_of, mesh_of, using
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
space = Space(model)


def told(tree):
    return [np.ravel(np.asarray(leaf, float)).tolist() for leaf in jax.tree.leaves(tree)]


def fitted(devices, people, method):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return mf.fit(model, people, method, key=KEY, progress=False, devices=devices)
"""
SUBJECTS = """
two_lines = lines(40, seed=0)[0]
some = mixture(two_lines)


def chaos(known, key):
    # of r x (1 - x) the smallest difference doubles at every step
    start = jax.random.uniform(key)
    return jax.lax.fori_loop(0, 200, lambda _, x: known["r"] * x * (1.0 - x), start), key


def on(devices):
    out = {}
    with using(devices):
        mesh = mesh_of(5, 1)
        alone = jax.jit(lambda keys: one_by_one(mesh, chaos, {"r": 3.99, "name": "logistic"}, keys))
        x, keys = alone(jax.random.split(KEY, 5))
        out["chaos"] = told((x, jax.random.key_data(keys)))
        double = jax.jit(lambda x: jnp.cumsum(dealt_out(mesh, lambda _, x: 2 * x, None, x, together=True)))
        out["sums of what was gathered"] = told(double(np.arange(5.0)))
        batches = batches_of(mf.Laplace(), model, people, None)
        used = count_of(batches.mesh)
        out["value, gradient, prior and terms"] = told(evaluate(mf.Laplace(), space, space.vector(), batches))
        out["terms"] = told(terms_of(mf.Laplace(), model, people))
        out["terms by many draws"] = told(terms_of(mf.ImportanceSampling(1000), model, people, KEY))
        out["information"] = told(information(mf.FO(), space, people, None))
        x = Space(some).vector() + 0.1 * np.sin(np.arange(5.0 * Space(some).vector().size)).reshape(5, -1)
        out["points of a mixture"] = told(
            look(mf.FO(), Space(some), pool_of(mf.FO(), some, [two_lines], None), x, room=5)
        )
    fit = fitted(devices, people, mf.Laplace())
    out["log-likelihood"] = [[fit.log_likelihood]]
    out["estimates"] = told((Space(fit.model).vector(), fit.eta))
    with using(devices):
        out["bootstrap"] = told(mf.bootstrap(fit, 4, key=jax.random.key(1), progress=False).draws.to_numpy())
        out["simulated"] = told(simulations(fit, 7, KEY))
    return used, out
"""
METHODS = """
from mefit.methods.adam_block import block as steps
from mefit.methods.saem.maximisation import block as iterations


def programs():
    return np.array([float(one.program._cached._cache_size()) for one in (steps, iterations)])


def holders(model):
    return max(len(leaf.devices()) for leaf in jax.tree.leaves(model) if isinstance(leaf, jax.Array))


def as_kept(fit):
    with tempfile.TemporaryDirectory() as folder:
        mf.save(fit, folder + "/fit.mefit")
        again = mf.load(folder + "/fit.mefit", models=[Line])
    return told((Space(again.model).vector(), again.eta, again.log_likelihood))


def on(devices):
    out = {}
    before = programs()
    adam = fitted(devices, people, mf.Adam(mf.FO(), steps=6, block=3, batch=130))
    out["Adam"] = told((adam.curve.objective, Space(adam.model).vector()))
    saem = fitted(devices, few, mf.SAEM(chains=2, exploration=4, smoothing=4, block=4, likelihood_by=mf.FO()))
    out["SAEM"] = told((saem.saem.trajectory, saem.saem.eta_draws))
    assert np.all(np.isfinite(saem.table.se))
    out["programs compiled, and devices that hold what comes out"] = told(
        (programs() - before, [holders(fit.model) for fit in (adam, saem)])
    )
    method = mf.NUTS(warmup=4, samples=4, block=4, chains=3, max_tree_depth=3, likelihood_by=mf.FO())
    nuts = fitted(devices, few, method)
    out["NUTS"] = told((nuts.draws.frame, nuts.draws.eta))
    out["fits in a file"] = [numbers for fit in (adam, saem, nuts) for numbers in as_kept(fit)]
    return devices, out
"""
END = """
print(json.dumps({devices: on(devices) for devices in (1, 2, 4)}))
"""


def by_devices(code):
    """What each number of devices computes, in a process that has four."""
    path = os.pathsep.join(filter(None, (str(HOME), str(HOME / "tests"), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path, "JAX_NUM_CPU_DEVICES": "4"}
    command = [sys.executable, "-c", BEGIN + code + END]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=900)
    return json.loads(done.stdout)


def hold_the_same(computed):
    _, alone = computed["1"]
    for devices in (2, 4):
        used, many = computed[str(devices)]
        assert used == devices
        for what, numbers in many.items():
            tolerance = 1e-9 if what in ("estimates", "bootstrap") else 1e-12
            for one, other in zip(alone[what], numbers, strict=True):
                np.testing.assert_array_equal(np.isnan(one), np.isnan(other), err_msg=what)
                apart = np.nanmax(np.abs(np.subtract(one, other)))
                assert apart <= tolerance * np.nanmax(np.abs(one)), (what, devices, apart)


def test_subjects_points_and_data_sets_are_the_same_on_any_number_of_devices():
    """150 subjects of 3 to 7 rows are five chunks, so that one or three of those that are dealt are empty; so are
    some shares of 7 data sets, 5 points and 5 loops."""
    hold_the_same(by_devices(SUBJECTS))


@pytest.mark.slow
def test_methods_go_the_same_way_on_any_number_of_devices():
    """Three chains of NUTS, nine subjects of SAEM and the chunks of a step of Adam, where shares differ in size."""
    hold_the_same(by_devices(METHODS))

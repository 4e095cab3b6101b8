"""Compiled programs kept from one process to the next, when asked for."""

import os
import subprocess
import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

import mefit as mf
from mefit.base import compiling

HOME = Path(__file__).resolve().parents[2]
CODE = """
import jax.numpy as jnp
import mefit as mf
from mefit.base.compiling import compiled

@compiled
def kept(x):
    return jnp.sum(jnp.linalg.cholesky(jnp.eye(5) + x * jnp.ones((5, 5))) ** 3)

print(float(kept(jnp.asarray(0.3))))
"""


def run(**more):
    """What CODE prints in a process of its own, and what it says on the side."""
    path = os.pathsep.join(filter(None, (str(HOME), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"PYTHONPATH": path} | more
    done = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=True)
    return done.stdout, done.stderr


def programs(folder):
    return {path.name: path for path in folder.rglob("*-cache")}


def test_programs_are_kept_for_the_next_process(tmp_path):
    value, _ = run(MEFIT_COMPILED=str(tmp_path))
    kept = programs(tmp_path)
    again, _ = run(MEFIT_COMPILED=str(tmp_path))
    assert again == value and any("kept" in name for name in kept)
    assert programs(tmp_path) == kept  # nothing was compiled a second time

    # Several processes may share the folder. JAX writes in place, and a checksum tells a reader who comes too early.
    (program,) = [path for name, path in kept.items() if "kept" in name]
    program.write_bytes(program.read_bytes()[:-20])
    early, warning = run(MEFIT_COMPILED=str(tmp_path))
    assert early == value and "Error reading persistent compilation cache entry" in warning


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"programs cannot be kept in .*: .*; name another folder\."):
        mf.keep_compiled(tmp_path / "file")


def test_an_option_that_xla_does_not_know_costs_no_other(monkeypatch):
    monkeypatch.setattr(compiling, "OPTIONS", {"xla_cpu_no_such_option": 1} | compiling.OPTIONS)
    assert compiling.known_options.__wrapped__() == compiling.known_options()
    assert compiling.known_options()["xla_cpu_experimental_ynn_fusion_type"] == ""


def test_a_compiled_function_may_be_part_of_another_program():
    @compiling.compiled
    def cube(x):
        return x**3

    two = jnp.asarray(2.0)
    assert float(cube(two)) == 8
    assert float(jax.jit(lambda x: cube(x) + cube(two))(two)) == 16
    assert float(jax.jit(lambda: cube(two))()) == 8  # nothing that is followed goes in
    assert float(compiling.compiled(lambda x: 2 * cube(x))(two)) == 16
    assert float(jax.grad(cube)(two)) == 12
    assert jax.vmap(cube)(jnp.asarray([1.0, 2.0])).tolist() == [1, 8]
    total, _ = jax.lax.scan(lambda total, x: (total + cube(x), None), 0.0, jnp.arange(1.0, 3.0))
    assert total == 9
    assert eqx.filter_eval_shape(cube, two).shape == ()

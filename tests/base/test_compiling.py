"""Compiled programs kept from one process to the next, when asked for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import mefit as mf

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


def test_programs_are_kept_for_the_next_process(tmp_path):
    def run(**more):
        path = os.pathsep.join(filter(None, (str(HOME), os.environ.get("PYTHONPATH"))))
        environment = os.environ | {"PYTHONPATH": path} | more
        done = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=True)
        return done.stdout, {p.name for p in tmp_path.rglob("*-cache")}

    value, none = run()
    first, kept = run(MEFIT_COMPILED=str(tmp_path))
    again, after = run(MEFIT_COMPILED=str(tmp_path))
    assert not none and any("kept" in name for name in kept)
    assert value == first == again and after == kept  # nothing was compiled a second time


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"programs cannot be kept in .*: .*; name another folder\."):
        mf.keep_compiled(tmp_path / "file")

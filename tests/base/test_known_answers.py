"""Small programs tell whether JAX computes rightly. It does here; a wrong answer is a sentence."""

import os
import re
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from mefit.base import xla
from mefit.base.known_answers import KnownAnswer, Verdict, examine

HOME = Path(__file__).resolve().parents[2]
DOTS = "--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_DOT"


def test_this_jax_computes_rightly():
    verdict = examine()
    assert verdict == Verdict(20, ())
    assert verdict.text == "all 20 right"


def stops(x):
    raise ArithmeticError("no way")


@pytest.mark.parametrize(
    ("program", "complaint"),
    [
        (lambda x: (2 * x).at[1].add(1e-3), r"doubling should be 4\.0 at 1 and is 4\.001;"),
        (lambda x: jnp.nan * x, r"doubling should be 2\.0 at 0 and is nan;"),
        (lambda x: 2 * x[:2], r"doubling should have shape \(3,\) and has \(2,\);"),
        (stops, r"doubling stopped with ArithmeticError;"),
    ],
)
def test_a_wrong_answer_is_a_sentence_that_says_what_to_do(program, complaint):
    x = np.array([1.0, 2.0, 3.0])
    verdict = examine((KnownAnswer("doubling", program, (x,), 2 * x, 1e-9),))
    assert (verdict.asked, len(verdict.wrong), verdict.text) == (2, 2, "2 of 2 wrong")
    by_the_kit, by_jit = verdict.wrong
    start = r"JAX [\d.]+ computes wrongly by"
    remedy = r"trust no fit.*start\.py setup"
    assert re.match(rf"{start} the kit's programs: {complaint} {remedy}", by_the_kit)
    assert re.match(rf"{start} jax\.jit: {complaint} .*restart Python, import mefit", by_jit)


def test_a_difference_within_the_tolerance_is_none():
    x = np.array([1.0, 2.0, 3.0])
    assert not examine((KnownAnswer("doubling", lambda x: 2.002 * x, (x,), 2 * x, 2e-3),)).wrong


@pytest.mark.skipif(xla.installed_jaxlib() == "0.10.0", reason="jaxlib 0.10.0 itself ends at this flag")
def test_the_fault_of_jaxlib_0_10_2_is_found():
    """One's own setting of the flag brings it back, for jax.jit; the kit's programs stay right."""
    environment = {name: value for name, value in os.environ.items() if name != "MEFIT_COMPILED"}
    paths = [str(HOME), os.environ.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    environment |= {"XLA_FLAGS": DOTS, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "mefit.base.known_answers"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    complaints = done.stderr.splitlines()
    if xla.installed_jaxlib() == "0.10.2":
        assert done.returncode == 1 and complaints
        assert all("by jax.jit" in complaint for complaint in complaints)
        # How far it is off, and whether float32 is too, differs between processors.
        assert re.search(r"in float64 should be 268435456\.0 at 16384 and is 26[67]\d+\.0", complaints[0])
        assert all("in float32" in complaint for complaint in complaints[1:])
    else:
        assert (done.returncode, complaints) == (0, [])

"""XLA's fault that is switched off: what XLA_FLAGS becomes, and programs that came out wrong."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mefit.base import devices, xla

HOME = Path(__file__).resolve().parents[2]
OFF = "--xla_cpu_experimental_ynn_fusion_type="
THREADS = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
DOTS = "--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_DOT"


# XLA_FLAGS as a text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", OFF),
        (" \n", OFF),
        ("--xla_a=1", f"{OFF} --xla_a=1"),
        ("  --xla_a=1", f"{OFF}   --xla_a=1"),
        (THREADS, f"{OFF} {THREADS}"),  # the word without dashes stays behind the flag
        (DOTS, f"{OFF} {DOTS}"),  # the person's own setting comes later, and so it holds
        (f"{OFF} --xla_a=1", f"{OFF} --xla_a=1"),  # inherited from another process of the kit
        (OFF, OFF),
        (f"{THREADS} {OFF}", f"{OFF} {THREADS} {OFF}"),  # XLA would not get as far as the second
        ("there_is_no_such_file", "there_is_no_such_file"),  # XLA says so
        ("intra_op_parallelism_threads=1 --xla_a=1", "intra_op_parallelism_threads=1 --xla_a=1"),
    ],
)
def test_the_flag_comes_first_and_all_else_is_kept(before, after):
    assert xla.with_fusions_off(before) == after
    assert xla.with_fusions_off(after) == after


def test_a_file_of_flags_keeps_its_flags(tmp_path):
    file = tmp_path / "flags"
    file.write_text("--xla_a=1\n--xla_b='two words'\n")
    assert xla.with_fusions_off(str(file)) == f"{OFF} --xla_a=1\n--xla_b='two words'\n"
    file.write_text("")
    assert xla.with_fusions_off(str(file)) == OFF


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("", {}),
        ("--a=1 --b", {"a": "1", "b": ""}),
        ("--a=1 --a=2", {"a": "2"}),
        ("--a='1 --b=2' --c=3", {"a": "1 --b=2", "c": "3"}),
        ("--a=1 word --b=2", {"a": "1"}),
        ("word --a=1", {}),
        ("--a=1\n--b=", {"a": "1", "b": ""}),
    ],
)
def test_flags_are_read_as_xla_reads_them(text, flags):
    assert xla.flags_read(text) == flags


@pytest.mark.parametrize(
    ("jaxlib", "knows", "needs"),
    [
        ("0.10.1", False, False),
        ("0.10.2", True, True),
        ("0.10.2.dev20260601+local", True, True),
        ("0.11.0", True, True),
        ("0.12.0.1", True, False),
        ("0.12.0.2", False, False),
        ("0.13.0", False, False),
        ("1.0", False, False),
        ("", False, False),
    ],
)
def test_the_flag_is_set_only_where_it_is_known(jaxlib, knows, needs):
    assert (xla.knows_the_flag(jaxlib), xla.needs_the_flag(jaxlib)) == (knows, needs)
    environment = {"HOME": "/home"}
    assert xla.switch_fusions_off(environment, jaxlib, running=False) is None
    assert environment == {"HOME": "/home"} | ({"XLA_FLAGS": OFF} if knows else {})


@pytest.mark.parametrize("flags", [None, "--xla_a=1", f"{THREADS} {OFF}"])
def test_where_xla_runs_already_a_sentence_says_so(flags):
    before = {} if flags is None else {"XLA_FLAGS": flags}
    environment = dict(before)
    sentence = xla.switch_fusions_off(environment, "0.10.2", running=True)
    assert environment == before
    assert sentence is not None and "jaxlib 0.10.2 gets some programs wrong on a CPU" in sentence
    assert "restart Python and import mefit first" in sentence
    assert xla.switch_fusions_off(environment, "0.12.0.1", running=True) is None


def test_where_xla_was_started_with_the_flag_nothing_is_said(tmp_path):
    assert xla.switch_fusions_off({"XLA_FLAGS": OFF}, "0.10.2", running=True) is None
    of_ones_own_choice = {"XLA_FLAGS": DOTS}
    assert xla.switch_fusions_off(of_ones_own_choice, "0.10.2", running=True) is None
    file = tmp_path / "flags"
    file.write_text(OFF)
    assert xla.switch_fusions_off({"XLA_FLAGS": str(file)}, "0.10.2", running=True) is None


# The program of jax-ml/jax issue 39103: row i is (i, 0, 0), so what comes out is i squared, a whole
# number that float64 holds exactly.

SQUARES = """
import warnings

{before}
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import mefit
import jax
import jax.numpy as jnp
import numpy as np
from mefit.base.compiling import compiled

def squares(x):
    return jax.vmap(lambda row: jnp.sum((jnp.eye(3) @ row) ** 2))(x)

i = np.arange(16_385.0)
x = np.stack([i, 0 * i, 0 * i], 1)
for way in (jax.jit, compiled):
    print(int(np.sum(np.asarray(way(squares)(x)) != i**2)))
print(sum("import mefit first" in str(warning.message) for warning in caught))
print(jax.local_device_count())
"""
IMPORTED = "import jax"
RUNNING = "import jax.numpy; jax.numpy.zeros(1)"
TWO_DEVICES = "--xla_force_host_platform_device_count=2"


def wrong(before, flags):
    """Wrong rows by jax.jit and by the kit's compiler options; counts of warnings and devices."""
    environment = dict(os.environ)
    for name in ("XLA_FLAGS", "MEFIT_COMPILED", "JAX_NUM_CPU_DEVICES"):
        environment.pop(name, None)
    paths = [str(HOME), os.environ.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    environment["JAX_PLATFORMS"] = "cpu"
    if flags is not None:
        environment["XLA_FLAGS"] = flags
    command = [sys.executable, "-c", SQUARES.format(before=before)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return tuple(int(line) for line in done.stdout.split())


def test_no_flags_of_ones_own():
    assert wrong("", None) == (0, 0, 0, devices.cores())


def test_flags_of_ones_own_are_kept():
    assert wrong("", f"{TWO_DEVICES} {THREADS}") == (0, 0, 0, 2)
    assert wrong("", f"{THREADS} {TWO_DEVICES}") == (0, 0, 0, 1)  # as XLA reads it without the kit


def test_a_file_of_flags_is_kept(tmp_path):
    (tmp_path / "flags").write_text(f"{TWO_DEVICES}\n")
    assert wrong("", str(tmp_path / "flags")) == (0, 0, 0, 2)


def test_jax_may_be_imported_first():
    assert wrong(IMPORTED, None) == (0, 0, 0, devices.cores())


def test_where_jax_computed_first_the_kit_is_right_and_says_that_the_rest_may_not_be():
    by_jit, by_the_kit, warned, _ = wrong(RUNNING, None)
    assert by_the_kit == 0
    assert warned == xla.needs_the_flag(xla.installed_jaxlib())
    assert (by_jit > 0) == (xla.installed_jaxlib() == "0.10.2")


def test_ones_own_setting_of_the_flag_holds_outside_the_kit():
    if xla.installed_jaxlib() != "0.10.2":
        pytest.skip("only jaxlib 0.10.2 shows by wrong rows which setting holds")
    by_jit, by_the_kit, warned, _ = wrong("", DOTS)
    assert (by_jit > 0, by_the_kit, warned) == (True, 0, 0)

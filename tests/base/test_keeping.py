"""Compiled programs kept from one process to the next, when asked for, whatever becomes of their files."""

import errno
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from jax._src import compilation_cache

import mefit as mf
from mefit.base import keeping

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


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A folder with the programs of CODE, and what it printed."""
    folder = tmp_path_factory.mktemp("compiled")
    value, said = run(MEFIT_COMPILED=str(folder))
    assert said == ""
    return folder, value


def program_of(folder):
    (program,) = [path for name, path in programs(folder).items() if "kept" in name]
    return program


def test_programs_are_kept_for_the_next_process(first):
    folder, value = first
    kept = programs(folder)
    when = program_of(folder).stat().st_mtime_ns
    again, said = run(MEFIT_COMPILED=str(folder))
    assert again == value and said == ""
    assert programs(folder) == kept and program_of(folder).stat().st_mtime_ns == when  # nothing was compiled again


DAMAGES = {  # as by a kernel that was killed, a disk that was full, a laptop that lost its power
    "cut short": lambda whole: whole[:-20],
    "empty": lambda whole: b"",
    "zeros": lambda whole: bytes(len(whole)),
    "an end of zeros": lambda whole: whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_program_is_mended_without_a_word(first, damage):
    folder, value = first
    program = program_of(folder)
    whole = program.read_bytes()
    program.write_bytes(damage(whole))
    again, said = run(MEFIT_COMPILED=str(folder))
    assert again == value and said == ""
    assert len(program.read_bytes()) > len(whole) / 2  # made anew, so that the next process has it


def test_processes_side_by_side_share_a_folder(tmp_path):
    path = os.pathsep.join(filter(None, (str(HOME), os.environ.get("PYTHONPATH"))))
    own = os.environ | {"PYTHONPATH": path, "MEFIT_COMPILED": str(tmp_path)}
    several = [subprocess.Popen([sys.executable, "-c", CODE], env=own, stdout=-1, stderr=-1, text=True) for _ in "123"]
    told = [process.communicate() for process in several]
    assert len(set(told)) == 1 and told[0][1] == "" and float(told[0][0])


def test_a_full_disk_is_said_once(tmp_path):
    (tmp_path / "one-cache").write_bytes(b"half")

    def full(cache_key):
        raise OSError(errno.ENOSPC, "No space left on device")

    write = keeping._writing(full, tmp_path)
    with pytest.warns(UserWarning, match="No space left on device.; all works"):
        write("one")
    assert not (tmp_path / "one-cache").exists()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write("two")


def test_jax_has_the_two_functions_that_are_guarded():
    for name in (keeping.READER, keeping.WRITER):
        assert callable(getattr(compilation_cache, name))


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"programs cannot be kept in .*: .*; name another folder\."):
        mf.keep_compiled(tmp_path / "file")

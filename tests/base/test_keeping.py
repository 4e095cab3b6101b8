"""Compiled programs kept from one process to the next, when asked for, whatever becomes of their files."""

import errno
import os
import shutil
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np
import pytest
from jax._src import compilation_cache

import mefit as mf
from mefit.base import keeping, program_folder
from mefit.base.program_folder import ProgramFolder

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


def run(code=CODE, **more):
    """What CODE prints in a process of its own, and what it says on the side."""
    path = os.pathsep.join(filter(None, (str(HOME), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"PYTHONPATH": path} | more
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
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


def test_a_folder_is_written_by_several_at_once(tmp_path):
    """Four writers of the same program, of 3 MB, while others read: what is read is nothing or the whole."""
    program = np.random.default_rng(1).bytes(3_000_000)
    programs = ProgramFolder(tmp_path, 1e9, writable=True)
    with ThreadPoolExecutor(6) as pool:
        for k in range(20):
            writers = [pool.submit(write, tmp_path, f"{k}", program) for _ in range(2)]
            readers = [pool.submit(programs.get, f"{k}") for _ in range(4)]
            assert all(reader.result() in (None, program) for reader in readers)
            assert [writer.result() for writer in writers] == [None, None]
            assert programs.get(f"{k}") == program
    assert not list(tmp_path.glob("*.unfinished"))


def write(folder, key, program):
    """As from a process of its own."""
    ProgramFolder(folder, 1e9, writable=True).put(key, program)


def test_a_changed_byte_is_noticed(tmp_path):
    programs = ProgramFolder(tmp_path, 1e9, writable=True)
    programs.put("one", b"machine code" * 100)
    place = programs.place("one")
    whole = bytearray(place.read_bytes())
    whole[700] ^= 1
    place.write_bytes(whole)
    assert programs.get("one") is None and not place.exists()
    programs.put("one", b"machine code")
    assert programs.get("one") == b"machine code"


def test_an_interrupted_writer_leaves_nothing_that_is_read_or_stays(tmp_path, monkeypatch):
    programs = ProgramFolder(tmp_path, 1e9, writable=True)

    def killed(unfinished, place):
        raise SystemExit  # as late as can be: all is written, nothing moved

    monkeypatch.setattr(program_folder, "_move", killed)
    with pytest.raises(SystemExit):
        programs.put("one", b"program")
    monkeypatch.undo()
    assert programs.get("one") is None
    (left,) = tmp_path.iterdir()
    programs.put("one", b"program")
    assert programs.get("one") == b"program"
    left.touch()
    programs.keep_within_bounds()
    assert left.exists()  # its writer may still be at work
    os.utime(left, (0, 0))
    programs.keep_within_bounds()
    assert not left.exists() and programs.get("one") == b"program"


def test_a_folder_is_bounded_and_what_was_used_last_stays(tmp_path):
    """Of ten programs of 100 kB and a bound of 1 MB an eleventh leaves 0.75 MB, digests included: seven programs."""
    programs = ProgramFolder(tmp_path, 1e6, writable=True)
    now = time.time()
    for k in range(10):
        programs.put(f"{k}", bytes(99_000))
        os.utime(programs.place(f"{k}"), (0, now - 100_000 + 1000 * k))
    assert programs.get("0") is not None  # which notes that it was used
    programs.put("ten", bytes(99_000))
    assert {path.name for path in tmp_path.iterdir()} == {f"{k}-cache" for k in ("0", "ten", *range(5, 10))}


def test_a_full_disk_is_said_once(tmp_path, monkeypatch):
    def full(path, data):
        with open(path, "wb") as file:
            file.write(data[:4])
        raise OSError(errno.ENOSPC, "No space left on device")

    programs = ProgramFolder(tmp_path, 1e9, writable=True)
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.warns(UserWarning, match="No space left on device.; all works"):
        programs.put("one", b"program")
    assert list(tmp_path.iterdir()) == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        programs.put("two", b"program")
    assert programs.get("one") is None


def test_a_folder_that_cannot_be_written_is_read(first, tmp_path, monkeypatch):
    """Whoever is no administrator meets a folder without rights; an administrator has all of them, so that it is
    acted for one: no file can be made."""
    folder, value = first
    copy = tmp_path / "shared"
    shutil.copytree(folder, copy)
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    locked = "import pathlib\ndef refused(path, data): raise PermissionError(13, 'Permission denied')\n"
    again, said = run(locked + "pathlib.Path.write_bytes = refused\n" + CODE, MEFIT_COMPILED=str(copy))
    assert again == value and said == ""
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*") if path.is_file()} == {
        path: when for path, when in before.items() if path.is_file()
    }
    program_of(copy).write_bytes(b"damaged")
    again, said = run(locked + "pathlib.Path.write_bytes = refused\n" + CODE, MEFIT_COMPILED=str(copy))
    assert again == value and said == "" and program_of(copy).read_bytes() == b"damaged"


def test_what_is_in_the_way_of_keeping_stops_no_import(tmp_path):
    (tmp_path / "file").write_text("")
    value, said = run(MEFIT_COMPILED=str(tmp_path / "file"))
    assert float(value) and "programs cannot be kept in" in said and "All works, but compiles anew." in said


def test_a_bound_must_be_positive(tmp_path):
    with pytest.raises(ValueError, match="megabytes must be positive, to bound what is kept, and is 0"):
        mf.keep_compiled(tmp_path, megabytes=0)


def test_jax_has_the_two_functions_that_are_guarded():
    for name in (keeping.READER, keeping.MAKER):
        assert callable(getattr(compilation_cache, name))


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"programs cannot be kept in .*: .*; name another folder\."):
        mf.keep_compiled(tmp_path / "file")


@pytest.mark.parametrize("solver", [mf.dynamics.Tsit5(), mf.dynamics.Kvaerno5(), mf.dynamics.RK4()], ids=repr)
def test_programs_of_differential_equations_can_be_kept(solver):
    """JAX keeps no program that calls Python from inside, which solvers do that check for errors as they go."""
    subject = mf.datasets.theophylline()[0]

    def solved(ka):
        return mf.dynamics.solve(lambda t, y: [-ka * y[0], ka * y[0] - 0.1 * y[1]], [0.0, 0.0], subject, solver=solver)

    assert "callback" not in jax.jit(solved).lower(1.5).as_text()
    calling = jax.jit(lambda x: jax.pure_callback(np.sin, jax.ShapeDtypeStruct((), float), x))
    assert "callback" in calling.lower(1.5).as_text()  # the referee does notice one

"""Files that cannot be written or read: a full disk, a damaged cache, two kernels that share one."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import mefit as mf

HOME = Path(__file__).resolve().parents[2]
CODE = """
import sys
import jax.numpy as jnp
import mefit as mf
from mefit.base.compiling import compiled

if len(sys.argv) > 1:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))

@compiled
def kept(x):
    return jnp.sum(jnp.linalg.cholesky(jnp.eye(5) + x * jnp.ones((5, 5))) ** 3)

print(float(kept(jnp.asarray(0.3))))
"""
limits = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of a file")


def run(folder, *arguments):
    """What CODE prints in a process of its own that keeps its programs in a folder, and what it says on the side."""
    path = os.pathsep.join(filter(None, (str(HOME), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"PYTHONPATH": path, "MEFIT_COMPILED": str(folder)}
    command = [sys.executable, "-c", CODE, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout, done.stderr


def programs(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*-cache") if "kept" in path.name}


@pytest.fixture
def full_disk():
    """No file may grow beyond 300 bytes, as on a disk that is nearly full."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    answer = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, answer)


@limits
@pytest.mark.parametrize("name", ["people.csv", "people.csv.gz"])
def test_a_full_disk_leaves_the_file_that_was_there(name, tmp_path, theophylline, request):
    place = tmp_path / name
    place.write_bytes(b"what was there")
    before = place.read_bytes()
    request.getfixturevalue("full_disk")
    with pytest.raises(OSError, match="could not be written .*; what was there before is as it was: make room") as said:
        theophylline.to_csv(place)
    assert str(place) in str(said.value) and "\n" not in str(said.value)
    assert place.read_bytes() == before and [path.name for path in tmp_path.iterdir()] == [name]
    with pytest.raises(OSError, match=r"could not be written \([^;]*: make room, or name another place"):
        theophylline.to_csv(tmp_path / "new.csv")
    assert len(list(tmp_path.iterdir())) == 1


def test_what_is_written_is_read_whatever_the_place(tmp_path, theophylline, monkeypatch):
    """A link stays one, a mode stays, a suffix compresses, and a home is found."""
    few = theophylline[:2]
    real = tmp_path / "real.csv"
    real.write_text("old")
    real.chmod(0o600)
    link = tmp_path / "link.csv"
    link.symlink_to(real)
    few.to_csv(link)
    assert link.is_symlink() and real.stat().st_mode & 0o777 == 0o600
    few.to_csv(tmp_path / "few.csv.gz")
    assert (tmp_path / "few.csv.gz").read_bytes()[:2] == b"\x1f\x8b"
    for place in (real, tmp_path / "few.csv.gz"):
        again = mf.Population.read_csv(place, covariates={"wt": "wt"})
        assert again.to_frame().equals(few.to_frame())


def test_an_interrupt_leaves_the_file_that_was_there(tmp_path, theophylline, monkeypatch):
    import pandas as pd

    place = tmp_path / "people.csv"
    place.write_text("what was there")

    def interrupted(frame, path, **options):
        Path(path).write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(pd.DataFrame, "to_csv", interrupted)
    with pytest.raises(KeyboardInterrupt):
        theophylline.to_csv(place)
    assert place.read_text() == "what was there" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("wrong", ["nowhere/people.csv", "."])
def test_a_place_that_cannot_be_is_a_sentence(wrong, tmp_path, theophylline):
    with pytest.raises(OSError, match="could not be written"):
        theophylline.to_csv(tmp_path / wrong)


@limits
def test_programs_that_cannot_be_kept_are_computed_all_the_same(tmp_path):
    """On a full disk it is said once, and no part of a program is left behind for the next process to stumble over."""
    value, said = run(tmp_path, "1000")
    assert said.count("no more compiled programs can be kept") == 1 and "Traceback" not in said
    again, said = run(tmp_path)
    assert again == value and "compil" not in said


def test_kernels_that_share_a_folder(tmp_path):
    """Begun together on an empty folder, and again on a damaged one: the same number everywhere."""
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda _: run(tmp_path), range(2)))
    value = together[0][0]
    assert {printed for printed, _ in together} == {value}
    assert programs(tmp_path)
    for i, path in enumerate(sorted(tmp_path.rglob("*-cache"))):
        path.write_bytes((b"", b"no program")[i % 2])
    again, said = run(tmp_path)
    assert again == value and "Traceback" not in said

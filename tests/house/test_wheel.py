"""A wheel, and one made from the sdist, in a fresh environment that has what mefit asks for and nothing else: no
Jupyter, no matplotlib. It installs, fits, saves, loads, and says in a sentence what pictures need.
"""

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
PROGRAM = """
import importlib.util, sys
from pathlib import Path
import mefit as mf
assert Path(mf.__file__).is_relative_to(sys.prefix), mf.__file__
assert not [name for name in ("matplotlib", "IPython", "ipykernel", "anywidget") if importlib.util.find_spec(name)]
assert Path(mf.__file__).with_name("py.typed").exists()
from models import Additive, theophylline_model
fit = mf.fit(theophylline_model(), mf.datasets.theophylline(), mf.FO())
mf.save(fit, "fit.mefit")
again = mf.load("fit.mefit", models=Additive)
assert again.minus_two_log_likelihood == fit.minus_two_log_likelihood
fit.to_csv("estimates.csv")
try:
    mf.plots
except ModuleNotFoundError as error:
    assert "pip install matplotlib" in str(error)
else:
    raise AssertionError("there are pictures without matplotlib")
print(f"{again.minus_two_log_likelihood:.3f}")
"""
pytestmark = pytest.mark.slow


def needed() -> set[str]:
    """The packages that the core asks for, and those that these ask for."""
    found: set[str] = set()
    waiting = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    while waiting:
        requirement = Requirement(waiting.pop())
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if name not in found:
            found.add(name)
            waiting += distribution(name).requires or []
    return found


def built(source: Path, target: str, folder: Path) -> Path:
    """What hatchling makes of the sources."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(folder)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (made,) = folder.iterdir()
    return made


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return built(ROOT, "sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return built(ROOT, "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """The Python of a new environment, in which the packages that are needed are links to those that are here."""
    home = tmp_path_factory.mktemp("fresh") / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    place = Path(subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True).stdout.strip())
    for name in needed():
        package = distribution(name)
        for part in {path.parts[0] for path in package.files or () if path.parts[0] != ".."}:
            if not (place / part).exists():
                (place / part).symlink_to(package.locate_file(part))
    return python


def test_the_sdist_gives_the_wheel_that_the_repository_gives(archive, wheel, tmp_path):
    with tarfile.open(archive) as files:
        files.extractall(tmp_path / "unpacked", filter="data")
    (source,) = (tmp_path / "unpacked").iterdir()
    again = built(source, "wheel", tmp_path / "wheel")
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(again) as other:
        assert sorted(one.namelist()) == sorted(other.namelist())
        same = [name for name in one.namelist() if not name.endswith("RECORD")]
        assert [name for name in same if one.read(name) != other.read(name)] == []


def test_it_fits_saves_and_loads_without_jupyter_and_matplotlib(wheel, fresh, tmp_path):
    install = ["install", "--no-deps", "--no-index", "--no-compile", "--disable-pip-version-check", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "--python", str(fresh), *install], check=True, capture_output=True)
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    env |= {"PYTHONPATH": str(tmp_path), "MEFIT_COMPILED": ""}
    (tmp_path / "models.py").write_text((TESTS / "models.py").read_text(encoding="utf-8"), encoding="utf-8")
    done = subprocess.run([fresh, "-c", PROGRAM], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"\d+\.\d{3}", done.stdout.strip()), done.stdout

"""One list of dependencies, and everything that is derived from it or shipped with it."""

import importlib.util
import json
import re
import runpy
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]
NOT_LOCKED = {"cluster", "demo", "site"}  # what only a modeller with a cluster, a teacher, or an author installs
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
PLATFORMS = {"linux": ("posix", "Linux"), "darwin": ("posix", "Darwin"), "win32": ("nt", "Windows")}


def direct_dependencies():
    """Every requirement of the core, of the extras that are locked, and of the build."""
    extras = [text for name, extra in EXTRAS.items() if name not in NOT_LOCKED for text in extra]
    found = [Requirement(text) for text in PROJECT["dependencies"] + extras + PYPROJECT["build-system"]["requires"]]
    return [requirement for requirement in found if requirement.name != PROJECT["name"]]


def locked():
    """(name, version, marker or None, number of hashes) of every entry of the lock."""
    for entry in re.split(r"\n(?=\S)", LOCK.replace("\\\n", " ").strip()):
        head, *hashes = entry.split("--hash=")
        requirement = Requirement(head.strip())
        (specifier,) = requirement.specifier
        assert specifier.operator == "==" and requirement.url is None, entry
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}\s*", text) for text in hashes), entry
        yield requirement.name, specifier.version, requirement.marker, len(hashes)


def applies(marker: Marker | None, minor: int, platform: str) -> bool:
    os_name, system = PLATFORMS[platform]
    here = {"python_version": f"3.{minor}", "python_full_version": f"3.{minor}.9", "implementation_name": "cpython"}
    here |= {"platform_python_implementation": "CPython", "sys_platform": platform, "os_name": os_name}
    return marker is None or marker.evaluate(here | {"platform_system": system})


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("minor", [11, 12, 13, 14, 15])
def test_lock_serves_every_direct_dependency(minor, platform):
    entries = [(name, version) for name, version, marker, _ in locked() if applies(marker, minor, platform)]
    assert len(dict(entries)) == len(entries), "two versions of one package would be installed"
    for requirement in direct_dependencies():
        version = dict(entries).get(requirement.name)
        assert version is not None, f"{requirement.name} is not in requirements.lock: make it again (CONTRIBUTING.md)"
        assert requirement.specifier.contains(version), f"the lock has {version}, which is not {requirement}"


def test_lock_is_hashed_and_names_no_place():
    assert all(hashes > 0 for *_, hashes in locked())
    assert not re.search(r"://|file:|^\s*-[^-]|--(extra-)?index|--find-links|--trusted", LOCK, re.MULTILINE)


SUPPORTED = runpy.run_path(str(ROOT / "start.py"))["SUPPORTED"]


def test_supported_pythons_agree():
    named = [text.rsplit(" ", 1)[1] for text in PROJECT["classifiers"] if "Python :: 3." in text]
    assert sorted(named) == sorted(SUPPORTED) and len(set(SUPPORTED)) == len(SUPPORTED)
    minors = sorted(int(version.removeprefix("3.")) for version in SUPPORTED)
    assert minors == list(range(minors[0], minors[-1] + 1))
    requires = SpecifierSet(PROJECT["requires-python"])
    assert [minor for minor in range(30) if f"3.{minor}.1" in requires] == list(range(minors[0], 30))


def test_no_dependency_has_an_upper_bound():
    demo = [Requirement(text) for name in NOT_LOCKED for text in EXTRAS[name]]
    for requirement in direct_dependencies() + demo:
        assert {bound.operator for bound in requirement.specifier} <= {">="}, requirement


def test_environment_is_derived():
    spec = importlib.util.spec_from_file_location("make_environment", ROOT / "tools" / "make_environment.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    assert text == tool.environment_text(PYPROJECT, SUPPORTED[0]), "type  python tools/make_environment.py"
    python, pip, section = yaml.safe_load(text)["dependencies"]
    assert python == f"python={SUPPORTED[0]}" and pip == "pip"
    extras = re.fullmatch(r"-e \.\[(.*)\]", section["pip"][0])[1].split(",")
    assert set(extras) == set(EXTRAS) - NOT_LOCKED
    assert not (ROOT / "Dockerfile").exists()  # Binder would use it in place of environment.yml
    with pytest.raises(ValueError, match="lacks the extra tests"):
        tool.environment_text({"project": {**PROJECT, "optional-dependencies": {"workshop": []}}}, SUPPORTED[0])


def test_the_core_asks_for_no_notebook():
    names = {Requirement(text).name for text in PROJECT["dependencies"]}
    assert not {name for name in names if re.search(r"jupyter|^ipy|matplotlib|^nb", name)}


def test_wheel_carries_data_and_settings_only(tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        settings = next(name for name in names if name.endswith("lab/settings/overrides.d/mefit.json"))
        assert "data/share/jupyter" in settings
        told = json.loads(archive.read(settings))
        exported = json.loads(archive.read(next(name for name in names if name.endswith("jupyter_config.json"))))
    assert told["@jupyterlab/apputils-extension:notification"] == {"fetchNews": "false", "checkForUpdates": False}
    assert told["@jupyter-widgets/jupyterlab-manager:plugin"] == {"saveState": True}
    assert exported["HTMLExporter"]["NbConvertBase"]["display_data_priority"][0] == "text/html"
    folder = ROOT / "mefit" / "datasets"
    data = [path for ending in ("*.csv", "*.md") for path in folder.glob(ending)]
    assert data and {path.relative_to(ROOT).as_posix() for path in data} <= names
    assert {name.split("/")[0] for name in names if ".data/" not in name and ".dist-info/" not in name} == {"mefit"}


def repository_files():
    """All files that belong to the repository: by git, or, in an unpacked archive, all but hidden folders."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True).stdout.decode().split("\0")
    except (OSError, subprocess.CalledProcessError):
        hidden = {".venv", ".git", ".pytest_cache", ".ruff_cache", ".mypy_cache", "__pycache__"}
        names = [str(path) for path in ROOT.rglob("*") if not hidden & set(path.relative_to(ROOT).parts)]
    return sorted(ROOT / name for name in names if name and (ROOT / name).is_file())


def test_no_registry_address_anywhere():
    hosts = ["pypi" + ".org", "pythonhosted" + ".org", "anaconda" + ".org", "npmjs" + ".org", "docker" + ".io"]
    hosts += ["ghcr" + ".io", "quay" + ".io", "index" + "-url ", "find" + "-links "]
    files = repository_files()
    assert ROOT / "start.py" in files
    for path in files:
        content = path.read_bytes()
        assert not [host for host in hosts if host.encode() in content], path


NOTEBOOKS = sorted(path for path in repository_files() if path.suffix == ".ipynb")


@pytest.mark.skipif(not NOTEBOOKS, reason="there are no notebooks in this copy")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_stored_without_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert "widgets" not in notebook.metadata
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None, f"clear the outputs of {path.name}"

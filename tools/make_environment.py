"""Write environment.yml from pyproject.toml:  python tools/make_environment.py

Conda (and Binder, which reads the same file) brings Python and pip only. Everything else comes from the project itself,
so that pyproject.toml stays the one list of dependencies.
"""

import runpy
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

# Python is named exactly: where it is not, Binder takes a default of its own, which may be too old.
TEMPLATE = """\
# Made from pyproject.toml by  python tools/make_environment.py  -- change that one.
#     conda env create -f environment.yml
#     conda activate {name}
name: {name}
channels:
  - conda-forge
dependencies:
  - python={python}
  - pip
  - pip:
      - -e .[workshop,tests]
"""


def environment_text(pyproject: dict[str, Any], python: str) -> str:
    """The text of environment.yml for a parsed pyproject.toml and a Python: its extras, but for the teacher's."""
    project = pyproject["project"]
    missing = {"workshop", "tests"} - set(project["optional-dependencies"])
    if missing:
        raise ValueError(
            f"pyproject.toml lacks the extra {' and '.join(sorted(missing))}: environment.yml installs it."
        )
    return TEMPLATE.format(name=project["name"], python=python)


def best_python() -> str:
    """The Python that start.py prefers."""
    return str(runpy.run_path(str(ROOT / "start.py"))["SUPPORTED"][0])


def main() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (ROOT / "environment.yml").write_text(environment_text(pyproject, best_python()), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()

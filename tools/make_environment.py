"""Write environment.yml from pyproject.toml:  python tools/make_environment.py

Conda (and Binder, which reads the same file) brings Python and pip only. Everything else comes from the project itself,
so that pyproject.toml stays the one list of dependencies.
"""

import re
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
  - python=3.{minor}
  - pip
  - pip:
      - -e .[workshop,tests]
"""


def environment_text(pyproject: dict[str, Any]) -> str:
    """The text of environment.yml for a parsed pyproject.toml: the highest Python it admits and all its extras."""
    project = pyproject["project"]
    missing = {"workshop", "tests"} - set(project["optional-dependencies"])
    if missing:
        raise ValueError(
            f"pyproject.toml lacks the extra {' and '.join(sorted(missing))}: environment.yml installs it."
        )
    limit = re.search(r"<\s*3\.(\d+)", project["requires-python"])
    if limit is None:
        raise ValueError(
            "requires-python in pyproject.toml has no upper limit such as <3.14: environment.yml needs it."
        )
    return TEMPLATE.format(name=project["name"], minor=int(limit[1]) - 1)


def main() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (ROOT / "environment.yml").write_text(environment_text(pyproject), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()

"""MathJax for the site, out of the installed package sphinx-mathjax-offline: one file, whose letters are paths.

Its letters are no fonts, because a page that is opened as a file may not load fonts in every browser.
"""

import shutil
from importlib.metadata import files
from pathlib import Path
from typing import Any

SCRIPT = "tex-svg-full.js"


def source() -> Path:
    """The file as it is installed; ValueError where the package lacks it."""
    for file in files("sphinx-mathjax-offline") or ():
        if file.name == SCRIPT:
            return Path(str(file.locate()))
    raise ValueError(f"The package sphinx-mathjax-offline has no {SCRIPT}: install it from requirements-site.lock.")


def copy(app: Any, failure: Exception | None) -> None:
    """Put it into the site that was built."""
    if failure is None:
        folder = Path(app.outdir) / "_static" / "mathjax"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(source(), folder)

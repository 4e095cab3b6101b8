"""Every recipe of docs/recipes runs, from its first line to its picture.

With MEFIT_SCREENSHOTS set to a folder, each picture is kept there as a PNG.
"""

import ast
import os
import sys
from pathlib import Path

import matplotlib.figure
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "pages"))

import recipes  # noqa: E402

QUICK = {"01_read_my_file", "04_infusion"}
PAGES = [
    pytest.param(path, id=path.stem, marks=() if path.stem in QUICK else pytest.mark.slow) for path in recipes.paths()
]
# What was simulated, and how far from it an estimate may be: three standard errors of such a study, roundly.
TRUTHS = {
    "05_two_compartments": {"cl": (5.0, 1.1), "v": (20.0, 3.5)},
    "07_occasions": {"between": (0.3, 0.12), "within": (0.2, 0.06)},
    "08_pkpd": {"e0": (80.0, 2.0), "ec50": (1.0, 0.3)},
    "09_time_to_event": {"alpha": (0.8, 0.6), "omega": (0.8, 0.2)},
    "10_ordinal": {"slope": (-0.4, 0.25), "omega": (1.5, 0.7)},
    "11_menet": {"sigma": (0.1, 0.03)},
}


@pytest.mark.parametrize("path", PAGES)
def test_a_recipe_runs_to_its_picture(path):
    names: dict = {}
    last = None
    for cell in recipes.notebook(path).cells:
        if cell.cell_type == "code":
            tree = ast.parse(cell.source)
            shown = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, path.name, "exec"), names)
            value = eval(compile(ast.Expression(shown.value), path.name, "eval"), names) if shown else None
            last = value if isinstance(value, matplotlib.figure.Figure) else last
    assert isinstance(last, matplotlib.figure.Figure), "the page has no picture"
    if folder := os.environ.get("MEFIT_SCREENSHOTS"):
        last.savefig(Path(folder, f"{path.stem}.png"))
    assert any(axes.has_data() for axes in last.axes)
    assert last.get_supxlabel() or any(axes.get_xlabel() or axes.get_xticklabels() for axes in last.axes)
    for name, (truth, within) in TRUTHS.get(path.stem, {}).items():
        assert abs(float(getattr(names["fit"].model, name)) - truth) < within, name

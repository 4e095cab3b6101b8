"""What the README promises: its example runs, its commands and files exist, its map and tables are complete."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import mefit as mf
from mefit.methods.method import Method
from mefit.objectives.objective import Objective

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)


def section(title: str, page: str = README) -> str:
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE)[1]


def test_the_example_runs_and_says_the_known_value():
    (code,) = [text for language, text in BLOCKS if language == "python"]
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "-2LL = 360.3066" in done.stdout
    assert "L/h/kg" in done.stdout and "shrinkage" in done.stdout


def test_everything_that_is_linked_is_there():
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert "docs/eight_schools.png" in links and "CONTRIBUTING.md" in links
    assert [link for link in links if not (ROOT / link).exists()] == []
    assert (ROOT / "docs/eight_schools.png").stat().st_size < 200_000


def test_the_map_has_a_line_for_every_floor():
    named = set(re.findall(r"`([^`]+/)`", section("The house", CONTRIBUTING)))
    assert [name for name in named if not (ROOT / name).is_dir()] == []
    floors = {f"mefit/{path.parent.name}/" for path in (ROOT / "mefit").glob("*/__init__.py")}
    assert len(floors) > 10 and floors <= named


def test_the_table_of_methods_is_complete():
    offered = {name: getattr(mf, name) for name in mf.__all__}
    public = {name for name, one in offered.items() if isinstance(one, type) and issubclass(one, Method | Objective)}
    rows = re.findall(r"^\| `(\w+)(\(.*?\))` ", section("Methods"), re.MULTILINE)
    assert {name for name, _ in rows} == public
    for name, arguments in rows:  # the arguments shown are the defaults
        assert eval(f"mf.{name}{arguments}", {"mf": mf}) == getattr(mf, name)()


@pytest.mark.parametrize("path", sorted((ROOT / "workshop").glob("*.ipynb")), ids=lambda path: path.stem)
def test_every_lesson_has_its_row(path):
    assert len(re.findall(rf"^\| \[[^]]+\]\(workshop/{re.escape(path.name)}\) \| \d+ \| ", README, re.MULTILINE)) == 1


def test_the_two_commands_come_first():
    language, first = BLOCKS[0]
    assert language == "sh"
    assert [line.split("#")[0].strip() for line in first.strip().splitlines()] == [
        "python3 start.py",
        "python3 start.py test",
    ]

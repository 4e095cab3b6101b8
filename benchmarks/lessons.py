"""Seconds and memory of every lesson, run twice, each in a kernel of its own: with nothing kept, and with what it kept.

    python benchmarks/lessons.py            all lessons; writes benchmarks/lessons.csv
    python benchmarks/lessons.py 01 02      these; their rows are written, the others stay

Then `python3 start.py tidy` puts the numbers into the lessons' first cells and into docs/class.md. Seconds that those
tell are of the processor: what a shared machine lets wait does not count in them.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

from measured import COLUMNS, FILE, measured  # noqa: E402
from run_lessons import Took, chosen, run, spoken  # noqa: E402


def both(path: Path) -> tuple[Took, Took]:
    """What a lesson takes with nothing kept, and then with what the first run kept."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        env = os.environ | {"MEFIT_COMPILED": folder, "MEFIT_PROGRESS": ""}
        return run(path, env), run(path, env)


def row(number: str, path: Path) -> dict[str, object]:
    """One row of the table of results."""
    cold, warm = both(path)
    print(f"lesson {number}: {spoken(cold.seconds)} on the clock, {spoken(warm.seconds)} with programs kept; ", end="")
    print(f"{spoken(cold.processor)} and {spoken(warm.processor)} of the processor; {cold.megabytes} MB", flush=True)
    cells = (number, cold.seconds, warm.seconds, cold.processor, warm.processor, cold.megabytes, warm.megabytes)
    return dict(zip(COLUMNS, (cells[0], *(round(value) if value else None for value in cells[1:])), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure seconds and memory of the lessons.")
    parser.add_argument("lessons", nargs="*", metavar="NN")
    for number, path in chosen(parser.parse_args().lessons).items():
        fresh = pd.DataFrame([row(number, path)])
        before = measured()
        kept = before[before.lesson != number]
        pd.concat([kept, fresh]).sort_values("lesson").to_csv(FILE, index=False, lineterminator="\n")


if __name__ == "__main__":
    main()

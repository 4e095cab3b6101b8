"""For a teacher: what a class has done, from files that were handed in or from copies of the kit.

    python3 start.py overview FOLDER ...    prints two tables; writes build/class/overview.html

A learner writes such a file with  check.hand_in("a name")  in any notebook.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from class_pack import FOLDER, titles  # noqa: E402

from workshop.checks import check  # noqa: E402
from workshop.checks.verdicts import Overview  # noqa: E402
from workshop.predictions import questions  # noqa: E402
from workshop.room import overview  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description="What a class has done.")
    parser.add_argument("places", nargs="+", type=Path, metavar="FOLDER")
    try:
        class_ = overview.learners(parser.parse_args().places)
    except ValueError as nobody:
        print(nobody, file=sys.stderr)
        return 1
    every = check.progress()
    assert isinstance(every, Overview)
    exercises = {progress.lesson: list(progress.states) for progress in every.lessons}
    asked = {number: questions(number) for number in titles()}
    tables = {
        "Learners: exercises done, and predictions right of those that were revealed": overview.by_learner(
            class_, exercises, asked
        ),
        "Tasks, the hardest first: how many learners": overview.by_task(class_, exercises, asked),
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "overview.html").write_text(overview.page(tables), encoding="utf-8")
    for title, table in tables.items():
        print(f"{title}\n\n{table.to_string()}\n")
    print(f"As a page: {FOLDER / 'overview.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""For a teacher: the predictions of all lessons on paper and as polls:  python3 start.py pack

build/class/predictions.html    to print: room for answers, and none given
build/class/answers.html        the same with the answers
build/class/polls.csv           the questions with options, for a program that lets a room vote
"""

import re
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from workshop.predictions import questions  # noqa: E402
from workshop.room import questions as paper  # noqa: E402

FOLDER = ROOT / "build" / "class"


def titles() -> dict[str, str]:
    """The headings of the lessons with predictions, by number."""
    cards = sorted((ROOT / "workshop" / "predictions").glob("lesson_*.py"))
    numbers = [card.stem.removeprefix("lesson_") for card in cards]
    return {number: heading(next((ROOT / "workshop").glob(f"{number}_*.ipynb"))) for number in numbers}


def heading(notebook: Path) -> str:
    """The first heading of a notebook."""
    text = "\n".join(cell.source for cell in nbformat.read(notebook, 4).cells if cell.cell_type == "markdown")
    found = re.search(r"^# (.+)$", text, re.MULTILINE)
    return found[1] if found else notebook.stem


def main() -> None:
    lessons = titles()
    asked = {number: questions(number) for number in lessons}
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "predictions.html").write_text(paper.sheet(asked, lessons), encoding="utf-8")
    (FOLDER / "answers.html").write_text(paper.answers(asked, lessons), encoding="utf-8")
    paper.polls(asked).to_csv(FOLDER / "polls.csv", index=False, lineterminator="\n")
    print(f"In {FOLDER}: predictions.html to print, answers.html for you, polls.csv to vote.")


if __name__ == "__main__":
    main()

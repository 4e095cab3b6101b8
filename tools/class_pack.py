"""For a teacher: the predictions of all lessons on paper and as polls, and slides:  python3 start.py pack

build/class/predictions.html    to print: room for answers, and none given
build/class/answers.html        the same with the answers
build/class/exercises-02.html   the exercises of a lesson with their answers, where the site was built
build/class/slides-02.html      the pictures of a lesson, one a page, where it was run for the site
build/class/polls.csv           the questions with options, for a program that lets a room vote

Each page as PDF too, where a Chromium is installed; with  --html  pages only.
"""

import argparse
import re
import sys
from pathlib import Path

import class_slides
import nbformat

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from workshop.predictions import questions  # noqa: E402
from workshop.room import questions as paper  # noqa: E402

FOLDER = ROOT / "build" / "class"


SITE = ROOT / "build" / "site"
KEPT = ROOT / "build" / "kept"


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


def with_answers(page: str, address: str) -> str:
    """A page of the site with every answer open, its paths made to start at `address`, the folder that it lies in."""
    opened = re.sub(r"<details(?![^>]*\bopen\b)", "<details open", page)
    return opened.replace("<head>", f'<head><base href="{address}/">', 1)


def exercises(folder: Path, site: Path) -> list[Path]:
    """Write the exercises with their answers, as the site shows them; these pages."""
    pages = []
    for page in sorted((site / "exercises").glob("[0-9]*_exercises.html")):
        text = with_answers(page.read_text(encoding="utf-8"), page.parent.as_uri())
        pages.append(folder / f"exercises-{page.name[:2]}.html")
        pages[-1].write_text(text, encoding="utf-8")
    return pages


def predictions(folder: Path) -> list[Path]:
    """Write the predictions with and without answers, and as polls; the pages."""
    lessons = titles()
    asked = {number: questions(number) for number in lessons}
    (folder / "predictions.html").write_text(paper.sheet(asked, lessons), encoding="utf-8")
    (folder / "answers.html").write_text(paper.answers(asked, lessons), encoding="utf-8")
    paper.polls(asked).to_csv(folder / "polls.csv", index=False, lineterminator="\n")
    print(f"In {folder}: predictions.html to print, answers.html for you, polls.csv to vote.")
    return [folder / "predictions.html", folder / "answers.html"]


def main() -> int:
    """Write everything, and say what there is not."""
    parser = argparse.ArgumentParser(description="Papers and slides for a class, in build/class.")
    parser.add_argument("--html", action="store_true", help="no PDF")
    only_html = parser.parse_args().html
    FOLDER.mkdir(parents=True, exist_ok=True)
    pages = predictions(FOLDER)
    headings = {path.name.split("_")[0]: heading(path) for path in (ROOT / "workshop").glob("[0-9]*.ipynb")}
    slides, missing = class_slides.write(FOLDER, headings, KEPT)
    if missing:
        print(f"No slides of {', '.join(missing)}: python3 start.py site runs the lessons, and keeps their pictures.")
    answered = exercises(FOLDER, SITE)
    if not answered:
        print("No exercises with answers: python3 start.py site makes the pages that they are taken from.")
    return 0 if only_html else as_pdf([*pages, *answered, *slides])


def as_pdf(pages: list[Path]) -> int:
    """Print the pages; 1 where that fails."""
    browser = class_slides.chromium()
    if browser is None:
        print("No PDF: there is no Chromium here. Print the pages from any browser.")
        return 0
    try:
        made = [class_slides.printed(page, browser) for page in pages]
    except RuntimeError as failed:
        print(failed, file=sys.stderr)
        return 1
    print(f"As PDF: {', '.join(path.name for path in made)}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

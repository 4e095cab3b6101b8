"""Make the copy that `python3 start.py present` shows, and print the path of its notebook.

    python tools/present.py 02 FOLDER           a lesson
    python tools/present.py explorers FOLDER    every explorer, without text

A copy, so that what is tried in front of a class changes no lesson. What an earlier copy held is forgotten.
"""

import argparse
import shutil
from pathlib import Path

import nbformat
from gallery import gallery
from run_lessons import ROOT, chosen, copy_of_lessons, lessons

GALLERY = "explorers"


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the copy that start.py present shows.")
    parser.add_argument("shown", help=f"the number of a lesson, or {GALLERY}")
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    name = f"{GALLERY}.ipynb" if given.shown == GALLERY else chosen([given.shown])[given.shown].name
    shutil.rmtree(given.folder, ignore_errors=True)
    copy = copy_of_lessons(given.folder)
    for folder in ("docs", "exercises", "solutions"):  # where the links of a lesson lead
        shutil.copytree(ROOT / folder, given.folder / folder)
    if given.shown == GALLERY:
        nbformat.write(gallery(lessons()), copy / name)
    print(f"{copy.name}/{name}")


if __name__ == "__main__":
    main()

"""Build the site:  python3 start.py site  [lesson numbers]  [--kept]

Lessons are run once and kept by their content in build/kept; the pages are written to build/pages, and Sphinx makes
build/site of them. With numbers, only those lessons are run, and the others shown as they were kept, or without their
pictures. With `--kept` nothing is run. MEFIT_SITE_PYTHON names the Python that has Sphinx; this one needs the kit.
"""

import argparse
import filecmp
import os
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import executed
import explorer_pages
import flow
import front_page
import nbformat
import notebooks
import recipes
import reference
import words

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = ROOT / "build"
KEPT, PAGES, FORMER, SITE = BUILD / "kept", BUILD / "pages", BUILD / "pages.former", BUILD / "site"
PROSE = (
    "glossary",
    "formulas",
    "translation",
    "choosing",
    "errors",
    "covariates",
    "messages",
    "class",
    "scale",
    "publish",
)


def main() -> int:
    """Run what was asked for, write the pages, and call Sphinx."""
    parser = argparse.ArgumentParser(description="Build the site into build/site.")
    parser.add_argument("lessons", nargs="*", help="run these only, such as 02 05b; others as they were kept")
    parser.add_argument("--kept", action="store_true", help="run nothing")
    parser.add_argument("--no-recipes", action="store_true", help="run no recipe")
    parser.add_argument("--pages", action="store_true", help="write the pages, and do not call Sphinx")
    asked = parser.parse_args()
    began = time.perf_counter()
    known = executed.lessons()
    unknown = [number for number in asked.lessons if number not in known]
    if unknown:
        print(f"There is no lesson {unknown[0]!r}: choose from {', '.join(known)}.", file=sys.stderr)
        return 1
    wanted = set() if asked.kept else set(asked.lessons or known)
    missing = write_pages(known, wanted, run_recipes=not (asked.kept or asked.no_recipes))
    keep_times()
    if not asked.pages and (failed := sphinx()):
        return failed
    print(f"{'written: ' + str(PAGES) if asked.pages else 'built: ' + str(SITE / 'index.html')}", end=", ")
    print(f"{time.perf_counter() - began:.0f} s.")
    if missing:
        print(f"Without pictures, because they were not run: {', '.join(missing)}.")
    return 0


def write_pages(known: dict[str, Path], wanted: set[str], run_recipes: bool) -> list[str]:
    """Write the sources of all pages; the names of those that were not run."""
    if FORMER.exists():
        shutil.rmtree(FORMER)
    if PAGES.exists():
        PAGES.rename(FORMER)
    static = PAGES / "_static"
    static.mkdir(parents=True)
    files = pages_of_the_site(known)
    glossary = words.words((ROOT / "docs" / "glossary.md").read_text(encoding="utf-8"))
    missing = []
    shown: list[explorer_pages.Shown] = []
    for number, path in known.items():
        lesson, folder = outputs(path, number in wanted)
        if folder is None:
            missing.append(number)
            lesson = notebooks.not_run(lesson)
        else:
            shown += explorer_pages.found(lesson, number, path.name)
            copy_recordings(folder, static / "play")
        lesson = words.linked(lesson, number, glossary, "../docs/glossary.html")
        write(notebooks.page(lesson, "workshop", files, static / "stills"), "workshop", path.name)
    for path in sorted((ROOT / "solutions").glob("*.ipynb")):
        worked = nbformat.read(path, as_version=4)
        name = path.name.replace("solutions", "exercises")
        write(notebooks.page(notebooks.exercises(worked, path.name), "exercises", files, static), "exercises", name)
    write_prose(files)
    missing += recipes.write(PAGES, KEPT, run_recipes)
    reference.write(PAGES / "reference", known)
    explorer_pages.write(PAGES, shown)
    flow.write(PAGES / "docs")
    front_page.write(PAGES, shown, files)
    write_scripts(static)
    return missing


def outputs(path: Path, run: bool) -> tuple[nbformat.NotebookNode, Path | None]:
    """A lesson with its outputs and the folder of its recordings; None for that where it was not run."""
    if run or executed.is_kept(path, KEPT):
        return executed.run(path, KEPT)
    return nbformat.read(path, as_version=4), None


def pages_of_the_site(known: dict[str, Path]) -> set[str]:
    """The paths of the pages that links may lead to, from the root of the sources, and of pictures."""
    files = {f"workshop/{path.name}" for path in known.values()}
    files |= {f"exercises/{path.name[:2]}_exercises.ipynb" for path in (ROOT / "solutions").glob("*.ipynb")}
    files |= {f"docs/{name}.md" for name in PROSE} | {"start.md", "index.md", "explorers/index.md"}
    files |= {"workshop/INSTRUCTOR.md", "mefit/datasets/README.md"}
    files |= {f"workshop/cards/{path.name}" for path in (ROOT / "workshop" / "cards").glob("*.md")}
    files |= {f"workshop/images/{path.name}" for path in (ROOT / "workshop" / "images").glob("*")}
    files |= {f"docs/recipes/{path.name}" for path in (ROOT / "docs" / "recipes").glob("*.md")}
    return files


def write(page: nbformat.NotebookNode, folder: str, name: str) -> None:
    """Write a notebook into a folder of the sources."""
    place = PAGES / folder
    place.mkdir(parents=True, exist_ok=True)
    nbformat.write(page, place / name)


def write_prose(files: set[str]) -> None:
    """The pages that are written by hand, with links to pages of the site."""
    paths = [ROOT / "docs" / f"{name}.md" for name in PROSE]
    paths += [ROOT / "workshop" / "INSTRUCTOR.md", ROOT / "mefit" / "datasets" / "README.md"]
    paths += sorted((ROOT / "workshop" / "cards").glob("*.md"))
    for path in paths:
        folder = path.parent.relative_to(ROOT).as_posix()
        place = PAGES / folder / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text(encoding="utf-8")
        text = words.with_places(text) if path.stem == "glossary" else text
        place.write_text(notebooks.relinked(text, folder, files), encoding="utf-8")
    shutil.copytree(ROOT / "workshop" / "images", PAGES / "workshop" / "images", dirs_exist_ok=True)


def copy_recordings(folder: Path, target: Path) -> None:
    """The recordings of a lesson's explorers."""
    target.mkdir(parents=True, exist_ok=True)
    for script in folder.glob("*.js"):
        shutil.copy(script, target)


def write_scripts(static: Path) -> None:
    """The stage with its player as one script, and its look, which needs no modules: a page may be opened as a file."""
    from workshop.explorers import stage

    source = Path(stage.__file__).with_name("stage.js").read_text(encoding="utf-8")
    drawing, found, _ = source.partition("/** A view, made once")
    if not found:
        raise ValueError("stage.js has no whenShown any more: build_site.py has to cut it in another way.")
    drawing = drawing.replace("export function", "function")
    player = (HERE / "play.js").read_text(encoding="utf-8")
    (static / "play.js").write_text(f'(() => {{\n"use strict";\n{drawing}\n{player}\n}})();\n', encoding="utf-8")
    (static / "stage.css").write_text(stage.look(), encoding="utf-8")
    shutil.copy(HERE / "site.css", static)


def keep_times() -> None:
    """Give files that have not changed the time that they had, so that Sphinx does not read them again."""
    for path in PAGES.rglob("*"):
        former = FORMER / path.relative_to(PAGES)
        if path.is_file() and former.is_file() and filecmp.cmp(path, former, shallow=False):
            shutil.copystat(former, path)
    if FORMER.exists():
        shutil.rmtree(FORMER)


def sphinx() -> int:
    """Let Sphinx build the site; warnings are mistakes."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    env = {**os.environ, "MEFIT_VERSION": project["version"], "PYTHONPATH": str(HERE), "PYTHONWARNINGS": "ignore"}
    env["MEFIT_STATIC"] = str(PAGES / "_static")
    python = os.environ.get("MEFIT_SITE_PYTHON", sys.executable)
    command = [python, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "-c", str(HERE)]
    command += ["-d", str(BUILD / "doctrees"), str(PAGES), str(SITE)]
    return subprocess.run(command, env=env).returncode


if __name__ == "__main__":
    sys.exit(main())

"""What every notebook and page of the kit keeps: its anatomy, its links, pictures with words, and its spelling."""

import ast
import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest

import mefit
from workshop import explorers

spellchecker = pytest.importorskip("spellchecker")

ROOT = Path(__file__).resolve().parents[2]
LESSONS = sorted((ROOT / "workshop").glob("*.ipynb"))
NOTEBOOKS = [*LESSONS, *sorted((ROOT / "solutions").glob("*.ipynb")), *sorted((ROOT / "exercises").glob("*.ipynb"))]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md", "mefit/datasets/README.md")),
    *sorted((ROOT / "docs").glob("**/*.md")),
    *sorted((ROOT / "workshop").glob("**/*.md")),
]
OWN_WORDS = set((ROOT / "tests" / "words.txt").read_text(encoding="utf-8").split())
AMERICAN = {"color", "colors", "center", "centered", "behavior", "modeling", "modeled", "favor", "analyze", "gray"}

lessons = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
texts = pytest.mark.parametrize(
    "path", [*NOTEBOOKS, *PAGES], ids=lambda path: path.relative_to(ROOT).as_posix().replace("/", "-")
)


def number_of(path: Path) -> str:
    return path.stem.split("_")[0]


def cells(path: Path, kind: str) -> list[str]:
    """Those that are written by hand: without the line of links at both ends."""
    every = nbformat.read(path, as_version=4).cells
    return [c.source for c in every if c.cell_type == kind and "navigation" not in c.metadata.get("tags", ())]


def markdown(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.suffix == ".md" else "\n\n".join(cells(path, "markdown"))


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", " ", re.sub(r"```.*?```", " ", text, flags=re.DOTALL))


def prose(text: str) -> str:
    """The words of a page: no code, formulas, addresses or tags."""
    text = re.sub(r"\$\$.*?\$\$|\$[^$]*\$", " ", without_code(text), flags=re.DOTALL)
    return re.sub(r"\]\([^)]*\)|<[^>]+>|https?://\S+|&\w+;", " ", text)


# ------------------------------------------------------------------------------------ anatomy


@lessons
def test_a_lesson_opens_with_minutes_and_objectives(path):
    first = cells(path, "markdown")[0]
    assert re.match(rf"# {number_of(path)} · \S", first)
    minutes = re.search(r"^\*\*(\d+) minutes\.\*\* After this lesson you will be able to$", first, re.MULTILINE)
    assert minutes and 5 <= int(minutes[1]) <= 90
    assert len(re.findall(r"^- ", first, re.MULTILINE)) >= 3
    row = re.search(rf"\]\(workshop/{re.escape(path.name)}\) \| (\d+) \|", (ROOT / "README.md").read_text())
    assert row and row[1] == minutes[1], "the README states other minutes"
    if path.name[:2] != "00":
        assert "*Builds on*" in first


@lessons
def test_a_lesson_ends_with_what_was_learned_and_where_to_go(path):
    """Not lesson 00, which only shows the way in."""
    if path.name[:2] == "00":
        return
    end = cells(path, "markdown")[-1]
    heads = re.findall(r"^## (.+?)(?: \*\(.*)?$", end[end.index("## What you now know") :], re.MULTILINE)
    assert heads == ["What you now know", "Exercises", "Where to read on", "Next"]
    parts = [part.split("\n", 1)[1].strip() for part in re.split(r"^## ", end, flags=re.MULTILINE)[-4:]]
    assert re.match(r"1\. .+\n(?: .+\n)*2\. ", parts[0]), "what is known now is numbered"
    own_file = path.name[:2] == "13"  # which is its exercise
    assert own_file or f"](../exercises/{path.name[:2]}_exercises.ipynb)" in parts[1]
    assert parts[2].startswith("- ") and parts[3]


@lessons
def test_code_cells_are_short(path):
    for cell in nbformat.read(path, as_version=4).cells:
        folded = cell.metadata.get("jupyter", {}).get("source_hidden", False)
        kept = [line for line in cell.source.splitlines() if line.strip()]
        assert cell.cell_type != "code" or len(kept) <= (24 if folded else 13), cell.source


@lessons
def test_code_that_draws_is_folded(path):
    """What a learner reads are models and fits; a picture made by one call of the kit may stay in sight."""
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code" and "style.figure(" in cell.source and "explorers." not in cell.source:
            assert cell.metadata.get("jupyter", {}).get("source_hidden"), cell.source
        assert cell.cell_type != "code" or not cell.source.startswith("picture.alt"), "it belongs to its picture"


@lessons
def test_an_explorer_is_moved_by_hand_and_not_for_the_tests(path):
    code = "\n".join(cells(path, "code"))
    made = re.findall(r"(?:^|, )(\w+) = (?:.*, )?explorers\.(\w+)\(", code, re.MULTILINE)
    assert len(made) == code.count("explorers.")
    for name, _ in made:
        assert f"{name}.set(**move)" not in code, f"{name} is moved for the tests"


def test_every_explorer_is_in_a_lesson():
    used = set(re.findall(r"explorers\.(\w+)\(", "\n".join("\n".join(cells(path, "code")) for path in LESSONS)))
    assert used == set(explorers.__all__) - {"Refused"}


# ------------------------------------------------------------------------------------ links and pictures


def anchors(path: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", without_code(markdown(path)), re.MULTILINE)
    github = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
    return github | {re.sub(r"[*`]", "", head).replace(" ", "-") for head in heads}  # JupyterLab's own form


@texts
def test_every_link_leads_somewhere(path):
    for text, target in re.findall(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)", without_code(markdown(path))):
        assert text.strip() or f"`]({target})" in markdown(path), target  # its text may be code
        if re.match(r"https?://|mailto:", target):
            continue
        name, _, anchor = unquote(target).partition("#")
        file = (path.parent / name).resolve() if name else path
        assert file.exists(), f"{path.name}: {target}"
        if anchor and file.suffix in (".md", ".ipynb"):
            assert anchor in anchors(file), f"{path.name}: {target}"


@texts
def test_every_picture_is_here_and_is_said_in_words(path):
    text = without_code(markdown(path))
    pictures = re.findall(r"!\[([^\]]*)\]\(([^)\s]+)\)", text)
    pictures += [
        ((re.search(r'alt="([^"]*)"', tag) or ["", ""])[1], (re.search(r'src="([^"]*)"', tag) or ["", ""])[1])
        for tag in re.findall(r"<img[^>]*>", text)
    ]
    for alt, target in pictures:
        assert len(alt.split()) >= 5, f"{path.name}: {target} needs a text that says what is seen"
        assert not target.startswith(("http:", "https:", "//")), f"{target} would be fetched from a network"
        assert (path.parent / target).resolve().exists(), target
    if path.suffix == ".ipynb":
        cells_of = nbformat.read(path, as_version=4).cells
        assert not any(cell.get("attachments") for cell in cells_of)


@texts
def test_every_fold_is_closed(path):
    if path.suffix == ".ipynb":
        for text in cells(path, "markdown"):
            opened = 0
            for tag in re.findall(r"<details\b|</details>", without_code(text)):
                opened += 1 if tag == "<details" else -1
                assert opened >= 0, text
            assert opened == 0, text


# ------------------------------------------------------------------------------------ words


@texts
def test_spelling(path):
    known = spellchecker.SpellChecker(language="en")
    words = {
        re.sub(r"['’]s$", "", word.lower()).replace("’", "'")
        for word in re.findall(r"[^\W\d_]+(?:[’'][^\W\d_]+)?", prose(markdown(path)))
        if len(word) > 2 and not word.isupper()
    }
    assert sorted(word for word in words if word not in known and word not in OWN_WORDS) == []
    assert not words & AMERICAN, "the kit is written in British English"


def test_own_words_are_sorted_and_needed():
    text = (ROOT / "tests" / "words.txt").read_text(encoding="utf-8").split()
    assert text == sorted(set(text))
    known = spellchecker.SpellChecker(language="en")
    assert [word for word in text if word in known] == []


# ------------------------------------------------------------------------------------ docstrings


def public_things():
    names = [info.name for info in pkgutil.walk_packages(mefit.__path__, "mefit.")]
    for module_name in [*names, "workshop.explorers.stage", "workshop.checks.engine", "workshop.studies.ready"]:
        module = importlib.import_module(module_name)
        yield module_name, module
        for name, thing in vars(module).items():
            if name.startswith("_") or getattr(thing, "__module__", None) != module_name:
                continue
            if inspect.isclass(thing) or inspect.isroutine(thing) or hasattr(thing, "__wrapped__"):
                yield f"{module_name}.{name}", thing


def test_every_public_name_has_a_docstring():
    bare = []
    for name, thing in public_things():
        text = vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__
        # A dataclass without words gets its signature for a docstring.
        if not text or (inspect.isclass(thing) and text.startswith(f"{thing.__name__}(")):
            bare.append(name)
    assert bare == []


def test_every_function_of_the_front_door_names_its_arguments_types():
    for name in dir(mefit):
        thing = getattr(mefit, name)
        if inspect.isfunction(thing):
            tree = ast.parse(inspect.getsource(thing).lstrip())
            arguments = tree.body[0].args
            named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
            assert [arg.arg for arg in named if arg.annotation is None] == [], name

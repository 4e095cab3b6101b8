"""Words of the glossary: a place for each on its page, and links to it from the lessons.

A word is linked where it stands first in a lesson's text, and says what it means when a hand rests on it. Words that
everyday English has too are linked only in the lessons that the glossary names for them.
"""

import copy
import html
import re
from collections.abc import Iterable
from dataclasses import dataclass

import nbformat

ROW = re.compile(r"^\| ([^|]+) \| ([^|]*(?:\\\|[^|]*)*) \| ([0-9b, ]+) \|$", re.MULTILINE)
EVERYDAY = frozenset("bound decoder dial encoder expert gap gate q referee ruler sandwich posterior amortised".split())
# Where no link may stand: code, formulas, links, marks of HTML, and headings.
CLOSED = re.compile(
    r"```.*?```|`[^`\n]*`|\$\$.*?\$\$|\$[^$\n]+\$|!?\[[^\]]*\]\([^)]*\)|<(\w+)[^>]*>.*?</\1>|<[^>]+>|^#.*?$|https?://\S+",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Word:
    """A row of the glossary: how it may be written, what it means, and the lessons that explain it."""

    names: tuple[str, ...]
    meaning: str
    lessons: frozenset[str]

    @property
    def anchor(self) -> str:
        """Its place on the page."""
        return "word-" + re.sub(r"[^a-z0-9]+", "-", self.names[0].lower()).strip("-")

    @property
    def pattern(self) -> re.Pattern[str]:
        """Any of its names, alone, in the singular or the plural; in small letters also at the head of a sentence."""
        return re.compile(r"(?<![\w-])(?:" + "|".join(map(spelled, self.names)) + r")(?![\w-])")

    def suits(self, lesson: str) -> bool:
        """May it be linked in this lesson?"""
        return not EVERYDAY.intersection(self.names) or lesson in self.lessons


def spelled(name: str) -> str:
    """A name as a pattern: its first letter, if small, may be a capital; an s may follow."""
    first = name[0]
    start = f"[{first}{first.upper()}]" if first.islower() and len(name) > 1 else re.escape(first)
    return start + re.escape(name[1:]) + "s?"


def words(glossary: str) -> list[Word]:
    """The words of the page in their order; ValueError where it has none."""
    found = [
        Word(names_of(match[1]), plain(match[2]), frozenset(match[3].replace(" ", "").split(",")))
        for match in ROW.finditer(glossary.partition("\n## Words\n")[2])
    ]
    if not found:
        raise ValueError("docs/glossary.md has no table of words any more.")
    return found


def names_of(cell: str) -> tuple[str, ...]:
    """`bound (ELBO)` is written bound or ELBO; formulas are no names."""
    parts = re.split(r", | \(|\)", cell)
    return tuple(part.strip() for part in parts if part.strip() and "$" not in part)


def plain(text: str) -> str:
    """A meaning without the marks of code and of formulas, for a hint; without formulas where it has them."""
    shown = re.sub(r"\$[^$]*\$", "…", text)
    return re.sub(r"[`*\\]", "", shown).strip()


def with_places(glossary: str) -> str:
    """The page with a place at each word, where a link may lead."""
    known = {word.names: word for word in words(glossary)}
    head, table = glossary.split("\n## Words\n")

    def placed(match: re.Match[str]) -> str:
        anchor = known[names_of(match[1])].anchor
        return match[0].replace(f"| {match[1]} |", f'| <span id="{anchor}"></span>{match[1]} |', 1)

    return head + "\n## Words\n" + ROW.sub(placed, table)


def linked(notebook: nbformat.NotebookNode, lesson: str, known: Iterable[Word], page: str) -> nbformat.NotebookNode:
    """A lesson in whose text each word, where it stands first, leads to `page`, the address of the glossary."""
    made = copy.deepcopy(notebook)
    waiting = [word for word in known if word.suits(lesson)]
    for cell in made.cells:
        if cell.cell_type == "markdown" and "navigation" not in cell.metadata.get("tags", ()):
            cell.source, waiting = linked_text(cell.source, waiting, page)
    return made


def linked_text(text: str, waiting: list[Word], page: str) -> tuple[str, list[Word]]:
    """A text with its links, and the words that it does not have."""
    left = []
    for word in waiting:
        closed = [match.span() for match in CLOSED.finditer(text)]
        free = (
            match
            for match in word.pattern.finditer(text)
            if not any(start < match.end() and match.start() < end for start, end in closed)
        )
        found = next(free, None)
        if found is None:
            left.append(word)
            continue
        meaning = html.escape(word.meaning, quote=True)
        link = f'<a class="mefit-word" href="{page}#{word.anchor}" title="{meaning}">{found[0]}</a>'
        text = text[: found.start()] + link + text[found.end() :]
    return text, left

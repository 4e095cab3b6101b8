"""The reference: every public name of mefit with its signature, its docstring, and the lessons that use it.

`help(mf.fit)` and Shift + Tab say the same: the text is the docstring, and nothing is written here.
"""

import inspect
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import EnumType
from pathlib import Path
from types import ModuleType, UnionType
from typing import Any, get_args

import nbformat
from docstrings import markdown

import mefit as mf

SPACES = ("pk", "dynamics", "networks", "families", "datasets", "dosing", "scores", "plots")
GROUPS = {
    "fitting": "Fit a model",
    "model": "Write a model",
    "data": "Bring in data",
    "objectives": "Likelihoods and their approximations",
    "methods": "Algorithms",
    "effects": "Random effects of one subject",
    "inference": "How sure, and which model",
    "diagnosis": "Is the fit to be believed?",
    "decisions": "What a fit is for",
    "reports": "Write it down",
    "base": "Searches and compiled programs",
}
NOTES = {
    "objectives": "Each also takes, by name: `optimiser`, how it is maximised; `newton`, how each subject's mode is "
    "searched; `scale_limit`, the factor by which a positive quantity may move before it is asked whether there is a "
    "maximum at all; `forward_up_to`, the number of free coordinates up to which derivatives are taken forward, which "
    "compiles faster. A fit seldom needs another value.",
}
ABOUT = {
    "pk": "Compartments in closed form",
    "dynamics": "Differential equations",
    "networks": "Networks",
    "families": "Families of responses",
    "datasets": "Data sets",
    "dosing": "A dose for one person",
    "scores": "Scores of predictions",
    "plots": "Pictures",
}
KEYS = re.compile(r"Union\[jaxtyping\.Key\[[^]]*\](?:, jaxtyping\.UInt32\[[^]]*\])*(, NoneType)?\]")
NUMBERS = re.compile(r"Union\[Array, ndarray, bool, number, bool, int, float, complex((?:, \w+)*)\]")
FUNCTION = re.compile(r"<(?:PjitFunction of <function|function) (?:\w+\.)*(\w+)[^>]*>+")
PREFIX = re.compile(r"(?:\b[a-z_]\w*\.)+(?=[A-Za-z_])")


@dataclass(frozen=True)
class Entry:
    """A public object: what one types, and the object."""

    name: str
    thing: Any

    @property
    def anchor(self) -> str:
        """Its place on a page."""
        kind = "-class" if inspect.isclass(self.thing) else ""
        return self.name.replace(".", "-").replace("_", "-").lower() + kind


def public() -> dict[str, list[Entry]]:
    """All public objects, by the page that they stand on."""
    pages: dict[str, list[Entry]] = {group: [] for group in (*GROUPS, *SPACES)}
    for name in sorted(dir(mf), key=str.lower):  # not vars: names are loaded when they are asked for
        thing = getattr(mf, name)
        if not name.startswith("_") and not isinstance(thing, ModuleType):
            pages[thing.__module__.split(".")[1]].append(Entry(f"mf.{name}", thing))
    for space in SPACES:
        module = getattr(mf, space)
        pages[space] = [Entry(f"mf.{space}.{name}", getattr(module, name)) for name in names_of(module)]
    return pages


def names_of(module: ModuleType) -> list[str]:
    """What a module offers: its list of names, or what was written in mefit and is not private."""
    if listed := getattr(module, "__all__", None):
        return sorted(listed, key=str.lower)
    own = module.__name__
    shared = own in ("mefit.decisions.dosing", "mefit.plots")
    return [
        name
        for name, thing in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(thing) or inspect.isfunction(thing))
        and (thing.__module__ == own or (shared and thing.__module__.startswith("mefit.")))
    ]


def write(folder: Path, lessons: Mapping[str, Path]) -> None:
    """The pages of the reference into a folder, and their index."""
    folder.mkdir(parents=True, exist_ok=True)
    used = uses(lessons)
    pages = public()
    rows = []
    for page, entries in pages.items():
        title = GROUPS.get(page) or f"{ABOUT[page]}: mf.{page}"
        parts = [f"# {title}", ""]
        if page in ABOUT:
            parts += [markdown(inspect.getdoc(getattr(mf, page)) or ""), ""]
        if page in NOTES:
            parts += [NOTES[page], ""]
        for entry in entries:
            parts.append(described(entry, taught(entry.name, used, lessons)))
            rows.append(f"| [`{entry.name}`](#{entry.anchor}) | {first_sentence(entry.thing)} |")
        (folder / f"{page}.md").write_text("\n".join(parts) + "\n", encoding="utf-8")
    names = "\n".join(pages)
    text = [
        "# Reference",
        "",
        "`import mefit as mf`, and each name says in a notebook, by Shift + Tab, what it says here.",
        "",
    ]
    text += ["| name | what it is |", "|---|---|", *sorted(rows, key=str.lower), ""]
    text += ["```{toctree}", ":hidden:", "", names, "```", ""]
    (folder / "index.md").write_text("\n".join(text), encoding="utf-8")


def described(entry: Entry, lessons: str) -> str:
    """One object: signature, docstring, the lessons, and for a class what it can do."""
    parts = [f"({entry.anchor})=", f"## `{entry.name}`", ""]
    if isinstance(entry.thing, UnionType):
        names = ", ".join(f"`{kind.__name__}`" for kind in get_args(entry.thing))
        return "\n".join([*parts, f"One of {names}.", ""])
    if signature := signature_of(entry.thing).removesuffix(" -> None"):
        parts += ["```python", f"{entry.name}{signature}", "```", ""]
    parts += [markdown(inspect.getdoc(entry.thing) or ""), ""]
    if isinstance(entry.thing, EnumType):
        kinds: Any = entry.thing
        parts += [*(f"- `{kind.name}`: {kind.value}" for kind in kinds), ""]
    for name, member in members(entry.thing):
        call = "" if isinstance(member, property) else signature_of(member)
        told = markdown(inspect.getdoc(member) or "")
        call = re.sub(r"\s+", " ", call).replace("( ", "(")
        parts += [f"**`.{name}{call}`**", "", told, ""]
    parts += [lessons, ""] if lessons else []
    return "\n".join(parts)


def signature_of(thing: Any) -> str:
    """The signature as one reads it, without the modules that types come from; empty where there is none."""
    if isinstance(thing, EnumType):
        return ""  # Python's own, and no one's to call
    try:
        text = str(inspect.signature(thing))
    except (TypeError, ValueError):
        return ""
    text = KEYS.sub(lambda key: "Key | None" if key[1] else "Key", text).replace("collections.abc.", "")
    text = (
        PREFIX.sub("", FUNCTION.sub(r"\1", text))
        .replace("(self, ", "(")
        .replace("(self)", "()")
        .replace("(cls, ", "(")
        .replace("(cls)", "()")
    )
    text = NUMBERS.sub(lambda union: "ArrayLike" + union[1].replace(", ", " | ").replace("NoneType", "None"), text)
    if len(text) < 80:
        return text
    # One argument a line, where a comma stands outside of all brackets but the first.
    depth, line = 0, ""
    lines: list[str] = []
    for letter in text:
        depth += letter in "([{"
        depth -= letter in ")]}"
        line += letter
        if (letter == "(" and depth == 1 and not lines) or (letter == "," and depth == 1):
            lines.append(line.strip())
            line = ""
    return lines[0] + "\n    " + "\n    ".join([*lines[1:], line.strip()])


def members(thing: Any) -> list[tuple[str, Any]]:
    """The public methods and properties that a class itself adds and explains."""
    if not inspect.isclass(thing):
        return []
    found = {name: member for name, member in vars(thing).items() if not name.startswith("_")}
    kinds = {name: getattr(member, "__func__", member) for name, member in found.items()}
    return [(n, m) for n, m in kinds.items() if (isinstance(m, property) or inspect.isfunction(m)) and m.__doc__]


def first_sentence(thing: Any) -> str:
    """The first sentence of a docstring, for the index."""
    if isinstance(thing, UnionType):
        return "One of the solvers"
    first = (inspect.getdoc(thing) or "").split("\n\n")[0].replace("\n", " ")
    return markdown(re.split(r"(?<=[a-z\])`0-9])[.:](?: |$)", first)[0]).replace("|", "\\|")


def uses(lessons: Mapping[str, Path]) -> dict[str, Counter[str]]:
    """How often each lesson writes `mf.name`, by lesson."""
    found = {}
    for number, path in lessons.items():
        text = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
        found[number] = Counter(re.findall(r"\bmf(?:\.\w+)+", text))
    return found


def taught(name: str, used: Mapping[str, Counter[str]], lessons: Mapping[str, Path]) -> str:
    """Links to the lessons that use a name, that which does so most often first."""
    counts = {
        number: sum(times for key, times in counter.items() if f"{key}.".startswith(f"{name}."))
        for number, counter in used.items()
    }
    ordered = sorted((number for number, times in counts.items() if times), key=lambda n: (-counts[n], n))
    links = [f"[{number}](../workshop/{lessons[number].name})" for number in ordered[:4]]
    return f"*In the lessons:* {', '.join(links)}." if links else ""

"""The flow chart of docs/choosing.md, drawn as SVG from the questions that the page lists."""

import html
import re
from dataclasses import dataclass
from pathlib import Path

PLACE = "<!-- the flow chart is drawn here -->"
ROW = re.compile(r"^\d+\. \*\*(.+?)\*\* (?:Yes|Both): (.+?)\.(?: .*)?$", re.MULTILINE)
LAST = re.compile(r"^\*\*(Otherwise)\*\*: (.+?)\.", re.MULTILINE)
ONE_CODE = re.compile(r"`([^`]+)`")
WIDTH, LEFT, RIGHT, HEIGHT, GAP = 900, 470, 300, 64, 34


@dataclass(frozen=True)
class Step:
    """A question, and what to take where the answer is yes; no question at the end."""

    question: str
    answer: str


def steps(page: str) -> list[Step]:
    """The questions of the page in their order; ValueError where there are none."""
    found = [Step(match[1], match[2]) for match in ROW.finditer(page)]
    last = LAST.search(page)
    if not found or last is None:
        raise ValueError("docs/choosing.md has no list of questions any more, or no 'Otherwise'.")
    return [*found, Step("", last[2])]


def write(folder: Path) -> None:
    """Put the chart into the page."""
    path = folder / "choosing.md"
    page = path.read_text(encoding="utf-8")
    if PLACE not in page:
        raise ValueError(f"docs/choosing.md has no line {PLACE!r}.")
    path.write_text(page.replace(PLACE, f"```{{raw}} html\n{drawing(steps(page))}\n```"), encoding="utf-8")


def drawing(chain: list[Step]) -> str:
    """The chart: questions one below the other, and what each leads to beside it."""
    parts = []
    for k, step in enumerate(chain):
        top = 10 + k * (HEIGHT + GAP)
        middle = top + HEIGHT / 2
        if not step.question:
            parts.append(box(0, top, LEFT, plain(step.answer), "answer"))
            continue
        parts.append(box(0, top, LEFT, step.question, "box"))
        parts.append(arrow(LEFT, middle, WIDTH - RIGHT, middle, "yes"))
        parts.append(box(WIDTH - RIGHT, top, RIGHT - 2, plain(step.answer), "answer"))
        parts.append(arrow(LEFT / 2, top + HEIGHT, LEFT / 2, top + HEIGHT + GAP, "no"))
    height = 10 + len(chain) * (HEIGHT + GAP)
    words = "; ".join(f"{step.question} yes: {plain(step.answer)}" for step in chain if step.question)
    label = html.escape(f"Which method? {words}; otherwise {plain(chain[-1].answer)}", quote=True)
    tip = '<marker id="tip" markerWidth="9" markerHeight="8" refX="8" refY="4" orient="auto">'
    tip += '<path d="M0 0L9 4L0 8z" fill="currentColor"/></marker>'
    return (
        f'<svg class="mefit-flow" role="img" aria-label="{label}" viewBox="0 0 {WIDTH} {height}" '
        f'font-size="16" xmlns="http://www.w3.org/2000/svg"><defs>{tip}</defs>{"".join(parts)}</svg>'
    )


def plain(words: str) -> str:
    """Words without the marks of code."""
    return ONE_CODE.sub(r"\1", words)


def box(left: float, top: float, width: float, words: str, kind: str) -> str:
    """A rounded box with up to three lines of words."""
    lines = wrapped(words, int(width / 9.4))
    first = top + HEIGHT / 2 + 5.5 - 10 * (len(lines) - 1)
    texts = "".join(
        f'<text x="{left + width / 2}" y="{first + 20 * k}" text-anchor="middle">{html.escape(line)}</text>'
        for k, line in enumerate(lines)
    )
    shape = f'<rect class="{kind}" x="{left + 1}" y="{top}" width="{width - 2}" height="{HEIGHT}" rx="10"/>'
    return shape + texts


def wrapped(words: str, letters: int) -> list[str]:
    """The words in lines of so many letters."""
    lines = [""]
    for word in words.split():
        if len(lines[-1]) + len(word) + 1 > letters and lines[-1]:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def arrow(x: float, y: float, x1: float, y1: float, word: str) -> str:
    """An arrow with a word beside its middle."""
    across = y == y1
    place = f'x="{(x + x1) / 2 - (12 if across else -8)}" y="{(y + y1) / 2 + (-7 if across else 5)}"'
    return f'<path class="way" d="M{x} {y}L{x1} {y1}" marker-end="url(#tip)"/><text {place}>{word}</text>'

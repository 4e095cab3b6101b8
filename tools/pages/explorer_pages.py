"""The gallery: every explorer of the lessons that were run, each on a page of its own."""

import html
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import nbformat
from notebooks import pictures_in_files, text_of

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from gallery import title_of  # noqa: E402  the folder above is no package

PLAY = re.compile(
    r'<div class="mefit-play" data-name="(\w+)" data-recording="([\w-]*)".*?</div>(?:<p class="mefit-note">.*?</p>)?',
    re.DOTALL,
)
ALT = re.compile(r'<img alt="([^"]*)"')
SOURCE = re.compile(r'src="([^"]*)"')


@dataclass(frozen=True)
class Shown:
    """An explorer as a lesson shows it: its HTML, the heading above it, the lesson's title and file."""

    name: str
    recording: str
    page: str
    heading: str
    title: str
    lesson: str

    @property
    def words(self) -> str:
        """Its name for people."""
        return title_of(self.name)


def found(notebook: nbformat.NotebookNode, number: str, lesson: str) -> list[Shown]:
    """The explorers of a lesson with outputs, in their order."""
    shown: list[Shown] = []
    title = heading = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for line in re.findall(r"^#{1,2} (.+)$", cell.source, re.MULTILINE):
                heading = re.sub(r"\*\(\d+ minutes\)\*", "", line).strip()
                title = title or heading
            continue
        for output in cell.get("outputs", ()):
            text = text_of(output.get("data", {}).get("text/html", ""))
            for match in PLAY.finditer(text):
                shown.append(Shown(match[1], match[2], match[0], heading, title, lesson))
    return shown


def write(pages: Path, shown: list[Shown]) -> None:
    """The gallery, and a page for the first appearance of each explorer."""
    folder = pages / "explorers"
    folder.mkdir(parents=True, exist_ok=True)
    first = {one.name: one for one in reversed(shown)}
    ordered = [one for one in shown if first[one.name] is one]
    cards = []
    for one in ordered:
        page = pictures_in_files(one.page, pages / "_static" / "stills", "../")
        (folder / f"{one.name}.md").write_text(explorer_page(one, page), encoding="utf-8")
        cards.append(card(one, page))
    names = "\n".join(one.name for one in ordered)
    text = f"""# All explorers

Pictures that are moved by hand, each from a lesson. Open one, take hold of a ringed mark, or press Tab and the
arrow keys.

```{{raw}} html
<ul class="mefit-gallery">{"".join(cards)}</ul>
```

```{{toctree}}
:hidden:

{names}
```
"""
    (folder / "index.md").write_text(text, encoding="utf-8")


def explorer_page(one: Shown, page: str) -> str:
    """The page of one explorer."""
    return f"""# {one.words}

From *{one.heading}*, in lesson [{one.title}](../workshop/{one.lesson}). Drag a ringed mark, or use the
controls; the arrow keys move what has the focus. *Link to this state* gives an address for slides and questions.

```{{raw}} html
{page}
```
"""


def card(one: Shown, page: str) -> str:
    """A small picture with a name, which leads to the page."""
    still = SOURCE.search(page)
    source = still[1] if still else ""
    words = f"<b>{html.escape(one.words)}</b><br>{html.escape(one.heading)}"
    return f'<li><a href="{one.name}.html"><img loading="lazy" alt="" src="{source}">{words}</a></li>'

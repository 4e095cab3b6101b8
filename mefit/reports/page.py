"""One self-contained page of HTML: sections that fold, tables, figures, and how they look on screen and on paper."""

import base64
import html
from collections.abc import Sequence
from io import BytesIO
from typing import Any, NamedTuple

import pandas as pd

_DPI = 180  # of the figures: sharp in print
STYLE = """
:root { color-scheme: light dark; --text: #1b1b1b; --soft: #4a4a4a; --paper: #ffffff; --card: #f5f6f8;
  --line: #c9ccd1; --link: #0b4f8a; --weak: #8a3b00; --edge: #cf8800; }
@media (prefers-color-scheme: dark) { :root { --text: #ececec; --soft: #bdbdbd; --paper: #17191d; --card: #22252b;
  --line: #4b5058; --link: #8fc4f5; --weak: #ffb366; --edge: #cf8800; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1020px; padding: 1.5rem; background: var(--paper); color: var(--text);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { display: inline; font-size: 1.25rem; }
h3 { font-size: 1.05rem; margin: 1.2rem 0 .4rem; }
a { color: var(--link); }
p { max-width: 75ch; }
.soft, figcaption, caption { color: var(--soft); }
.weak { border-left: 5px solid var(--edge); background: var(--card); padding: .6rem 1.2rem; margin: 1rem 0; }
.weak h2 { color: var(--weak); display: block; }
.weak li { margin: .5rem 0; }
nav ul { columns: 3; list-style: none; padding: 0; margin: 1rem 0; }
details { border-top: 1px solid var(--line); padding: .7rem 0; }
summary { cursor: pointer; }
summary:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .6rem 0 1rem; font-size: .92rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .3rem; }
th, td { padding: .25rem .8rem; text-align: right; border-bottom: 1px solid var(--line); vertical-align: top; }
th:first-child, td:first-child, .words td, .words th { text-align: left; }
figure { margin: 1rem 0; }
img { max-width: 100%; height: auto; background: #ffffff; border-radius: 4px; }
pre { background: var(--card); padding: .8rem; overflow-x: auto; font-size: .85rem; line-height: 1.4; }
code { overflow-wrap: anywhere; }
@media (max-width: 700px) { nav ul { columns: 1; } }
@media print {
  @page { margin: 15mm; }
  :root { --text: #000; --soft: #333; --paper: #fff; --card: #f5f5f5; --line: #999; --link: #000; --weak: #000; }
  body { max-width: none; padding: 0; font-size: 10.5pt; }
  nav { display: none; }
  details::details-content { content-visibility: visible; block-size: auto; display: block; }
  summary { list-style: none; }
  summary::-webkit-details-marker { display: none; }
  h2, h3, caption { break-after: avoid; }
  figure, tr, .weak li { break-inside: avoid; }
  img { max-height: 215mm; object-fit: contain; object-position: left; }
  pre { white-space: pre-wrap; }
  table { font-size: 9pt; }
}
"""
# All opens before it is printed, and folds again; a link into a folded section opens it.
SCRIPT = """
const all = () => document.querySelectorAll("details");
let folded = [];
const open = () => { folded = [...all()].filter(d => !d.open); folded.forEach(d => d.open = true); };
addEventListener("beforeprint", open);
addEventListener("afterprint", () => folded.forEach(d => d.open = false));
const follow = () => { const d = document.getElementById(location.hash.slice(1)); if (d) d.open = true; };
addEventListener("hashchange", follow); follow();
"""


class Section(NamedTuple):
    """A part of the page under a heading of its own; `parts` are HTML."""

    title: str
    parts: Sequence[str]
    open: bool = False

    @property
    def anchor(self) -> str:
        return "".join(letter if letter.isalnum() else "-" for letter in self.title.lower())


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text."""
    return f"<p{f' class={kind!r}' if kind else ''}>{html.escape(text)}</p>"


def sentence(text: str) -> str:
    """A paragraph that begins with a capital, as remarks do not."""
    return paragraph(text[:1].upper() + text[1:])


def heading(text: str) -> str:
    """A heading within a section."""
    return f"<h3>{html.escape(text)}</h3>"


def code(text: str) -> str:
    """Text as it stands, for source."""
    return f'<pre tabindex="0"><code>{html.escape(text.strip())}</code></pre>'


def table(frame: pd.DataFrame, caption: str, digits: int = 4, words: bool = False) -> str:
    """A table with a caption and a column for the index; `words` says that its cells are text, set to the left."""
    head = [str(frame.index.name or ""), *[str(name) for name in frame.columns]]
    rows = []
    for label, row in zip(frame.index, frame.itertuples(index=False), strict=True):
        cells = "".join(f"<td>{html.escape(_cell(value, digits))}</td>" for value in row)
        rows.append(f'<tr><th scope="row">{html.escape(str(label))}</th>{cells}</tr>')
    heads = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in head)
    kind = ' class="words"' if words else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{html.escape(caption)}"><table{kind}>'
        f"<caption>{html.escape(caption)}</caption><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody>"
        "</table></div>"
    )


def _cell(value: Any, digits: int) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.{digits}g}"
    return str(value)


def figure(picture: Any, caption: str) -> str:
    """A picture of `mefit.plots` with its own description for those who do not see it."""
    buffer = BytesIO()
    picture.savefig(buffer, format="png", dpi=_DPI)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    width = round(picture.get_figwidth() * picture.dpi)
    alt = html.escape(getattr(picture, "alt", "") or caption, quote=True)
    return (
        f'<figure><img alt="{alt}" width="{width}" src="data:image/png;base64,{data}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def page(title: str, top: Sequence[str], sections: Sequence[Section]) -> str:
    """The page: a title, what stands above all sections, a list of them, and they themselves."""
    links = "".join(f'<li><a href="#{s.anchor}">{html.escape(s.title)}</a></li>' for s in sections)
    folds = [
        f'<details id="{s.anchor}"{" open" if s.open else ""}><summary><h2>{html.escape(s.title)}</h2></summary>'
        f"{''.join(s.parts)}</details>"
        for s in sections
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head>\n<body><main><h1>{html.escape(title)}</h1>\n"
        f'{"".join(top)}\n<nav aria-label="Sections"><ul>{links}</ul></nav>\n'
        + "\n".join(folds)
        + f"</main><script>{SCRIPT}</script></body></html>\n"
    )

"""For a teacher: slides of each lesson's pictures, and papers as PDF, as part of  python3 start.py pack

Slides are made of the lessons that were run for the site and kept in build/kept: every picture on a page of its own,
below the heading of its section. A PDF is what an installed Chromium prints; where there is none, any browser prints
the pages.
"""

import html
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools" / "pages")]

import executed  # noqa: E402  the folder above is no package

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
PICTURE = re.compile(r'<img\b[^>]*?\bsrc="(data:image/png;base64,[A-Za-z0-9+/=]+)"[^>]*>')
ALT = re.compile(r'\balt="([^"]*)"')
MINUTES = re.compile(r"\s*\*\(\d+ minutes\)\*")
LOOK = """
@page { size: 320mm 180mm; margin: 0; }
body { margin: 0; font: 20px/1.35 system-ui, sans-serif; color: #1a1a1a; background: #fff; }
section { box-sizing: border-box; width: 320mm; height: 180mm; padding: 9mm 12mm; break-after: page; overflow: hidden;
  display: flex; flex-direction: column; }
section:last-child { break-after: auto; }
h1 { margin: auto 0; font-size: 2.4em; } h2 { margin: 0 0 4mm; font-size: 1.4em; }
img { flex: 1; min-height: 0; max-width: 100%; object-fit: contain; } footer { font-size: 0.7em; color: #555; }
"""


@dataclass(frozen=True)
class Slide:
    """A picture: where it is from, its data, and what it shows, in words."""

    heading: str
    picture: str
    alt: str


def slides_of(lesson: nbformat.NotebookNode) -> list[Slide]:
    """The pictures of a lesson with its outputs, in their order."""
    found: list[Slide] = []
    heading = ""
    for cell in lesson.cells:
        if cell.cell_type == "markdown":
            for line in re.findall(r"^#{1,3} (.+)$", cell.source, re.MULTILINE):
                heading = MINUTES.sub("", line).strip()
            continue
        for output in cell.get("outputs", ()):
            found += [Slide(heading, picture, alt) for picture, alt in pictures(output.get("data", {}))]
    return found


def pictures(data: dict) -> list[tuple[str, str]]:
    """The pictures of an output as addresses with their data inside, each with its words."""
    page = data.get("text/html", "")
    page = page if isinstance(page, str) else "".join(page)
    inline = [(match[1], html.unescape((ALT.search(match[0]) or ["", ""])[1])) for match in PICTURE.finditer(page)]
    if inline or "image/png" not in data:
        return inline
    return [(f"data:image/png;base64,{data['image/png'].strip()}", "")]


def deck(title: str, slides: Iterable[Slide]) -> str:
    """The slides as one page, a screen each; the first has the title."""
    parts = [f"<section><h1>{html.escape(title)}</h1></section>"]
    for slide in slides:
        words = html.escape(slide.alt, quote=True)
        picture = f'<img alt="{words}" src="{slide.picture}">'
        parts.append(
            f"<section><h2>{html.escape(slide.heading)}</h2>{picture}<footer>{html.escape(title)}</footer></section>"
        )
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{LOOK}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def write(folder: Path, titles: dict[str, str], kept: Path) -> tuple[list[Path], list[str]]:
    """Write `slides-NN.html` of every lesson that is kept; these pages, and the numbers of the other lessons."""
    pages = []
    missing = []
    for number, path in executed.lessons().items():
        if not executed.is_kept(path, kept):
            missing.append(number)
            continue
        lesson, _ = executed.run(path, kept)  # as it was kept: nothing is run
        pages.append(folder / f"slides-{number}.html")
        pages[-1].write_text(deck(titles[number], slides_of(lesson)), encoding="utf-8")
    return pages, missing


def chromium() -> str | None:
    """An installed Chromium, or the one that MEFIT_CHROMIUM names."""
    return os.environ.get("MEFIT_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


def printed(page: Path, browser: str) -> Path:
    """The page as PDF beside it; RuntimeError, with the browser's last line, where it made none."""
    target = page.with_suffix(".pdf")
    target.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer"]
        command += ["--virtual-time-budget=30000"]  # until formulas are set
        command += [f"--user-data-dir={profile}", f"--print-to-pdf={target}", page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=300)
    if not target.exists():
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise RuntimeError(f"{Path(browser).name} did not print {page.name}: {last}")
    return target

"""The whole site, as Sphinx makes it: every link and anchor leads somewhere, nothing is fetched, the search finds.

It needs the environment that `python3 start.py site` makes (MEFIT_SITE_PYTHON names another), and runs lesson 00 only:
others are as they were kept. With MEFIT_AXE, the path of axe.min.js of axe-core, it looks at contrast and labels.
"""

import http.server
import os
import subprocess
import sys
import threading
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from test_browser import CHROMIUM, browser  # noqa: F401

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "build" / "site"
BIN = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
SPHINX = os.environ.get("MEFIT_SITE_PYTHON") or str(ROOT.joinpath(".venv", "site", *BIN))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path(SPHINX).exists(), reason="There is no Sphinx: python3 start.py site installs it."),
]
needs_browser = pytest.mark.skipif(not CHROMIUM, reason="There is no Chromium on this computer.")
LOOKED_AT = (
    "index.html",
    "workshop/00_start_here.html",
    "explorers/index.html",
    "explorers/welcome.html",
    "exercises/02_exercises.html",
    "reference/fitting.html",
    "docs/choosing.html",
    "docs/glossary.html",
    "docs/recipes/index.html",
)


@pytest.fixture(scope="module")
def site():
    """The folder of the site, built now; or one that was, which MEFIT_SITE names."""
    if built := os.environ.get("MEFIT_SITE"):
        return Path(built)
    env = {**os.environ, "MEFIT_SITE_PYTHON": SPHINX, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "tools" / "pages" / "build_site.py"), "00", "--no-recipes"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return SITE


@pytest.fixture(scope="module")
def served(site):
    """The address of a plain server of the site."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


class Page(HTMLParser):
    """What a page names and what it leads to."""

    def __init__(self, path: Path):
        super().__init__()
        self.names: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        told = dict(attrs)
        self.names |= {told[key] for key in ("id", "name") if told.get(key)}
        if tag == "a" and told.get("href"):
            self.links.append(told["href"])
        loads = told.get("src") or (told.get("href") if tag == "link" else None)
        if loads and told.get("rel") not in ("canonical",):
            self.loads.append(loads)


def test_every_link_and_anchor_leads_somewhere(site):
    pages = {path: Page(path) for path in site.rglob("*.html")}
    assert len(pages) > 80
    wrong = []
    for path, page in pages.items():
        for target in page.links + page.loads:
            parts = urlsplit(target)
            if parts.scheme in ("http", "https", "mailto", "data", "javascript"):
                continue
            place = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            place = place / "index.html" if place.is_dir() else place
            if not place.exists():
                wrong.append((path.name, target, "no such file"))
            elif parts.fragment and place in pages and "=" not in parts.fragment:
                if unquote(parts.fragment) not in pages[place].names:
                    wrong.append((path.name, target, "no such place"))
    assert wrong == []


def test_nothing_is_loaded_from_elsewhere_and_it_is_small(site):
    for path in site.rglob("*.html"):
        assert [load for load in Page(path).loads if load.startswith(("http:", "https:", "//"))] == [], path.name
    assert sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) < 60e6


def looked_at(browser, address):  # noqa: F811
    """A page with everything that it asked for beyond its own place, and what it complained of."""
    tab = browser.new_page(viewport={"width": 1200, "height": 900})
    tab.set_default_timeout(120_000)  # of a computer that is busy with other tests
    own = address.split("/index.html")[0] if address.startswith("file:") else "/".join(address.split("/")[:3])
    wrong = []
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("console", lambda line: wrong.append(line.text) if line.type == "error" else None)
    fine = ("data:", "blob:", "file:") if address.startswith("file:") else ("data:", "blob:", own)
    tab.on("request", lambda sent: None if sent.url.startswith(fine) else wrong.append(sent.url))
    tab.goto(address)
    tab.wait_for_timeout(500)
    return tab, wrong


@pytest.mark.browser
@needs_browser
@pytest.mark.parametrize("way", ["file", "server"])
def test_pages_work_and_ask_nobody(site, served, browser, way):  # noqa: F811
    for name in LOOKED_AT:
        address = (site / name).as_uri() if way == "file" else served + name
        tab, wrong = looked_at(browser, address)
        for place in tab.locator(".mefit-play[data-recording]").all():
            if place.get_attribute("data-recording"):
                place.scroll_into_view_if_needed()
                place.locator(".panels").wait_for(timeout=60_000)
        if name in ("docs/glossary.html",):
            tab.locator("mjx-container svg").first.wait_for(timeout=60_000)
        assert wrong == [], name
        if axe := os.environ.get("MEFIT_AXE"):
            tab.add_script_tag(path=axe)
            rules = {"runOnly": ["color-contrast", "label", "button-name", "link-name", "image-alt", "html-has-lang"]}
            found = tab.evaluate("rules => axe.run(document, rules)", rules)["violations"]
            assert [(one["id"], [node["html"][:200] for node in one["nodes"]][:5]) for one in found] == [], name
        tab.close()


@pytest.mark.browser
@needs_browser
@pytest.mark.parametrize("way", ["file", "server"])
def test_every_explorer_moves_by_mouse_and_keyboard(site, served, browser, way):  # noqa: F811
    pages = sorted((site / "explorers").glob("*.html"))
    alive = 0
    for path in pages:
        address = path.as_uri() if way == "file" else f"{served}explorers/{path.name}"
        tab, wrong = looked_at(browser, address)
        place = tab.locator(".mefit-play[data-recording]")
        if path.name == "index.html" or not place.get_attribute("data-recording"):
            tab.close()
            continue
        place.locator(".panels").wait_for(timeout=60_000)
        handles = place.locator(".handle[visibility=visible]")
        moved = handles.first if handles.count() else place.locator("input[type=range]").first
        by = "aria-valuetext"
        before = moved.get_attribute(by)
        moved.focus()
        low = float(moved.get_attribute("aria-valuemin") or moved.get_attribute("min") or 0)
        now = float(moved.get_attribute("aria-valuenow") or moved.input_value())
        tab.keyboard.press("ArrowRight" if now <= low else "Home")
        tab.wait_for_timeout(250)
        by_key = moved.get_attribute(by)
        assert by_key != before, f"{path.name} stood still at {before}"
        moved.scroll_into_view_if_needed()
        for far in (90, 200):  # where few states were recorded, the next one is further off
            box = moved.bounding_box()
            x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
            tab.mouse.move(x, y)
            tab.mouse.down()
            tab.mouse.move(x + far, y - 60, steps=6)
            tab.mouse.up()
            tab.wait_for_timeout(250)
            if moved.get_attribute(by) != by_key:
                break
        assert moved.get_attribute(by) != by_key, f"{path.name} stood still under the mouse at {by_key}"
        assert wrong == [], path.name
        tab.close()
        alive += 1
    assert alive >= 1


@pytest.mark.browser
@needs_browser
@pytest.mark.parametrize("way", ["file", "server"])
def test_the_search_finds_shrinkage(site, served, browser, way):  # noqa: F811
    name = "search.html?q=shrinkage"
    address = f"{(site / 'search.html').as_uri()}?q=shrinkage" if way == "file" else served + name
    tab, wrong = looked_at(browser, address)
    results = tab.locator("#search-results li a")
    results.first.wait_for(timeout=60_000)
    assert any("01" in text or "05" in text for text in results.all_inner_texts())
    assert wrong == []
    tab.close()


def test_all_but_the_first_lesson_may_be_missing_and_the_page_says_so(site):
    kept = {path.name.split("_")[0] for path in (site.parent / "kept").glob("*") if path.is_dir()}
    for path in (site / "workshop").glob("[0-9]*.html"):
        number = path.name.split("_")[0]
        says = "was not run for this build" in path.read_text(encoding="utf-8")
        assert not says or number != "00", path.name
        assert says or number in kept, path.name

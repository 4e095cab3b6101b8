"""A lesson on a projector, and all explorers: large, alive, section by section, and on a copy.

The tests in a browser need what `test_browser.py` needs.
"""

import ast
import contextlib
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import pytest
from servers import PATIENCE, free_port, serving, until
from test_browser import CHROMIUM, FLAGS, HOME, KIT, playwright

from workshop import explorers

sys.path.insert(0, str(HOME / "tools"))

import gallery
from run_lessons import lessons

in_browser = pytest.mark.skipif(not CHROMIUM, reason="There is no Chromium on this computer.")
SCREENS = {"a small projector": (1366, 768), "a large one": (1920, 1080)}


# ------------------------------------------------------------------------------------ the copy and the gallery


def test_the_gallery_has_every_explorer_under_its_lesson():
    made = gallery.gallery(lessons())
    heads = [cell.source for cell in made.cells if cell.cell_type == "markdown"]
    code = "\n".join(cell.source for cell in made.cells if cell.cell_type == "code")
    assert set(re.findall(r"explorers\.(\w+)\(", code)) == set(explorers.__all__) - {"Refused"}
    assert [head[3:5] for head in heads[1:]] == sorted(head[3:5] for head in heads[1:])
    assert any(head.startswith("## 02 · Eight schools\n\n4. Eight Schools") for head in heads)


def test_an_explorer_takes_along_what_it_rests_on_and_no_more(tmp_path):
    lesson = [
        "import numpy as np\nfrom workshop import explorers\nunused = np.ones(9)",
        "def twice(x):\n    return 2 * x\n\nparts = {'a': twice(np.pi)}\nparts['b'] = 3\nprint(parts)",
        "picture = sum(parts.values())\nshown = explorers.welcome(parts)\nshown",
        "again = explorers.welcome(parts['b'])\nagain",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in lesson])
    nbformat.write(notebook, tmp_path / "07_name.ipynb")
    made = gallery.gallery({"07": tmp_path / "07_name.ipynb"})
    first, second = [cell.source for cell in made.cells if cell.cell_type == "code"]
    assert "import numpy" in first and "def twice" in first and "parts['b'] = 3" in first
    assert not re.search("unused|print|picture", first)
    assert second == "again = explorers.welcome(parts['b'])\ndisplay(again)"


def made(shown: str, place: Path) -> subprocess.CompletedProcess:
    script = [sys.executable, str(HOME / "tools" / "present.py"), shown, str(place)]
    return subprocess.run(script, capture_output=True, text=True)


def test_the_copy_holds_what_a_lesson_needs_and_its_links_lead_somewhere(tmp_path):
    place = tmp_path / "02"
    place.mkdir()
    (place / "of an earlier show").touch()
    done = made("02", place)
    assert done.stdout.strip() == "workshop/02_joint_or_marginal.ipynb", done.stderr
    assert not (place / "of an earlier show").exists()
    copy = place / done.stdout.strip()
    assert copy.read_bytes() == (HOME / done.stdout.strip()).read_bytes()
    text = "\n".join(cell.source for cell in nbformat.read(copy, 4).cells if cell.cell_type == "markdown")
    files = re.findall(r"\]\((?!https?:)([^)#\s]+)[^)]*\)", text)
    assert len(files) > 5 and [name for name in files if not (copy.parent / name).exists()] == []


def test_what_is_not_there_is_said(tmp_path):
    done = made("77", tmp_path / "77")
    assert done.returncode == 1 and "There is no lesson '77': choose from 00, 01" in done.stderr


def test_what_a_function_reads_may_be_made_after_it():
    code = ["def line(x):\n    return slope * x", "slope = 2.0", "other = 3.0", "shown = explorers.pooling(line)"]
    before = [ast.parse(text).body[0] for text in code]
    kept = gallery.needed(before[:-1], before[-1])
    assert [ast.unparse(part) for part in kept] == [code[0], code[1], code[3]]


# ------------------------------------------------------------------------------------ in a browser


def start():
    spec = importlib.util.spec_from_file_location("start_for_projector", HOME / "start.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Projected:
    """A page of a JupyterLab that shows a copy as `start.py present` does, and what the page asked for."""

    def __init__(self, page, address: str, patience: float = PATIENCE):
        self.page = page
        self.left: list[str] = []
        self.complaints: list[str] = []
        page.set_default_timeout(1000 * patience)
        page.on("request", lambda request: self._asked(request.url))
        page.on("websocket", lambda websocket: self._asked(websocket.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(address)
        page.wait_for_selector("body[data-run]", state="attached")
        assert page.locator("body").get_attribute("data-run") == "done"

    def _asked(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and parts.hostname != "127.0.0.1":
            self.left.append(url)

    @property
    def section(self) -> str:
        return self.page.locator("body").get_attribute("data-section")

    def press(self, key: str, section: str) -> None:
        """Press a key and wait for the section that it leads to."""
        self.page.keyboard.press(key)
        until(lambda: self.section == section, f"section {section} after {key}; this is {self.section}", seconds=10)

    def height(self, selector: str) -> float:
        """The height of a first piece of text on the screen, in pixels."""
        return self.page.locator(selector).first.bounding_box()["height"]

    def keep(self, name: str) -> None:
        if folder := os.environ.get("MEFIT_SCREENSHOTS"):
            self.page.screenshot(path=Path(folder) / f"present_{name}.png")


@contextlib.contextmanager
def shown_by_lab(what: str, root: Path, notebook: nbformat.NotebookNode | None = None):
    """The address of a JupyterLab that shows a copy."""
    done = made(what, root / "copy")
    assert done.returncode == 0, done.stderr
    if notebook is not None:
        nbformat.write(notebook, root / "copy" / done.stdout.strip())
    own = {name: str(root / name.lower()) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")}
    own |= {"IPYTHONDIR": str(root / "ipython"), "MPLCONFIGDIR": str(root / "mpl"), "JUPYTER_TOKEN": "t"}
    own |= {"JUPYTER_CONFIG_PATH": str(KIT), "PYTHONPATH": str(HOME)}
    port = free_port()
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}"]
    command += ["--port-retries=0", *start().options_of_projector(str(root / "copy"))]
    command += ["--allow-root"] if getattr(os, "geteuid", lambda: 1)() == 0 else []
    address = f"http://127.0.0.1:{port}"
    with serving(command, own, root / "lab.log", f"{address}/api?token=t"):
        yield f"{address}/doc/tree/{done.stdout.strip()}?token=t"


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def lesson(tmp_path_factory, chromium):
    with shown_by_lab("00", tmp_path_factory.mktemp("lesson")) as address:
        yield Projected(chromium.new_page(viewport={"width": 1366, "height": 768}), address)


@pytest.mark.browser
@in_browser
def test_a_lesson_is_large_and_without_the_frame_of_an_editor(lesson):
    page = lesson.page
    for screen, (width, height) in SCREENS.items():
        page.set_viewport_size({"width": width, "height": height})
        for away in ("#jp-menu-panel", ".jp-SideBar", ".jp-NotebookPanel-toolbar", ".jp-InputPrompt", "#filebrowser"):
            assert not page.locator(away).first.is_visible(), away
        lesson.press("Home", "1")
        assert page.locator("h1").first.is_visible()
        lesson.press("ArrowRight", "2")
        page.wait_for_selector(".mefit-stage .axes text")
        page.wait_for_timeout(500)  # the picture takes the width of its screen
        lesson.keep(f"00_{width}")
        # Of the screen's height a line of text has more than a thirtieth, and a number in a picture a fiftieth.
        letters = page.evaluate(
            """() => {
                const size = (one) => parseFloat(getComputedStyle(one).fontSize) * one.currentCSSZoom;
                const first = (selector) => document.querySelector(selector);
                return [...document.querySelectorAll(".jp-MarkdownCell p")].filter((p) => p.offsetParent).map(size)
                    .concat(size(first(".mefit-stage .axes text")), size(first(".mefit-stage .says")));
            }"""
        )
        assert min(letters) > height / 50 and letters[0] > height / 36, (screen, letters)
        stage = page.locator(".mefit-stage").first.bounding_box()
        assert stage["x"] >= 0 and stage["x"] + stage["width"] <= width
        panel = page.locator(".mefit-stage .panels").first.bounding_box()
        assert panel["height"] < height and panel["width"] > 0.8 * width, screen
    page.set_viewport_size({"width": 1366, "height": 768})


@pytest.mark.browser
@in_browser
def test_keys_go_from_section_to_section_and_the_list_shows_all(lesson):
    page = lesson.page
    lesson.press("Home", "1")
    lesson.press("ArrowRight", "2")
    lesson.press("ArrowRight", "3")
    lesson.press("ArrowLeft", "2")
    lesson.press("Home", "1")
    lesson.press("ArrowLeft", "1")  # there is nothing before
    count = 0
    while lesson.section == "1":  # screen by screen, over the end into the next section
        page.keyboard.press("PageDown")
        page.wait_for_timeout(200)
        count += 1
        assert count < 8
    page.keyboard.press("Escape")
    entries = page.locator(".mefit-present-list button")
    assert entries.first.is_visible() and entries.count() >= 4
    lesson.keep("00_list")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    until(lambda: lesson.section == "3", "the section chosen from the list", seconds=10)
    lesson.press("w", "whole")
    assert page.locator("h2:visible").count() >= 4
    lesson.press("w", "3")
    page.get_by_role("button", name="Section before (←)").click()
    assert lesson.section == "2"


@pytest.mark.browser
@in_browser
def test_explorers_live_under_mouse_and_keys_and_code_opens(lesson):
    page = lesson.page
    lesson.press("Home", "1")
    lesson.press("ArrowRight", "2")
    stage = page.locator(".mefit-stage").first

    def moves(act, what):
        before = stage.get_attribute("data-seq")
        act()
        until(lambda: stage.get_attribute("data-seq") != before, f"the explorer to follow {what}", seconds=20)

    slider = stage.locator("input[type=range]").first
    slider.focus()
    moves(lambda: page.keyboard.press("ArrowRight"), "a key")
    assert lesson.section == "2"  # the arrow was the slider's
    box = slider.bounding_box()
    moves(lambda: page.mouse.click(box["x"] + 0.9 * box["width"], box["y"] + box["height"] / 2), "the mouse")
    value = float(stage.locator("input[type=number]").first.input_value())
    most = float(stage.locator("input[type=number]").first.get_attribute("max"))
    assert value == pytest.approx(0.9 * most, abs=0.06 * most)  # it went to where the mouse was
    page.keyboard.press("Escape")  # lets go of the slider, and then arrows are the lecture's again
    lesson.press("ArrowRight", "3")
    lesson.press("ArrowLeft", "2")
    assert not page.locator(".jp-CodeCell .jp-InputArea-editor").first.is_visible()
    page.locator(".jp-CodeCell .jp-Placeholder-content:visible").first.click()
    assert page.locator(".jp-CodeCell .jp-InputArea-editor:visible").count() == 1
    assert lesson.left == [] and lesson.complaints == []


SHORT = ("three_patients", "eight_schools", "em_by_hand")  # need no fit


@pytest.mark.slow  # `test_browser.py` works each explorer, and a lesson is shown above
@pytest.mark.browser
@in_browser
def test_the_gallery_shows_explorers_without_code_each_full_screen(tmp_path, chromium):
    whole = gallery.gallery(lessons())
    keep = [0]
    for place, cell in enumerate(whole.cells):
        if any(f"explorers.{name}(" in cell.source for name in SHORT):
            cell.source = "from workshop import explorers\n" + cell.source
            keep += [place - 1, place]
    whole.cells = [whole.cells[place] for place in keep]
    with shown_by_lab("explorers", tmp_path, whole) as address:
        shown = Projected(chromium.new_page(viewport={"width": 1366, "height": 768}), address)
        page = shown.page
        assert shown.section == "whole"
        assert page.locator(".mefit-stage").count() >= len(SHORT)
        assert not page.locator(".jp-CodeCell .jp-Cell-inputWrapper").first.is_visible()
        shown.keep("gallery")
        doors = page.locator("button.door")
        assert doors.count() == len(SHORT)
        doors.nth(1).click()
        until(lambda: shown.section == "3", "the second explorer alone", seconds=10)
        assert page.locator(".mefit-stage:visible").count() == 1
        until(lambda: page.evaluate("!!document.fullscreenElement"), "full screen", seconds=10)
        page.wait_for_timeout(500)
        shown.keep("gallery_one")
        assert shown.left == [] and shown.complaints == []


@pytest.mark.slow
@pytest.mark.browser
@in_browser
def test_the_whole_gallery_runs(tmp_path, chromium):
    with shown_by_lab("explorers", tmp_path) as address:
        page = chromium.new_page(viewport={"width": 1366, "height": 768})
        shown = Projected(page, address, patience=1800)  # it fits what all lessons fit
        made_of = len([cell for cell in gallery.gallery(lessons()).cells if cell.cell_type == "code"])
        assert shown.page.locator(".mefit-stage").count() == made_of

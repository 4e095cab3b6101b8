"""A learner's second day: a lesson that was run, saved and closed is opened again, with a new kernel; or exported, and
read without a network. Each explorer is there as a picture with its sentence, and nothing says that it is dead.

Needs what `test_browser.py` needs, and uses the settings that are shipped with the kit.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from test_browser import CHROMIUM, HOME, KIT, NOTEBOOKS, Opened, nbformat, notebook_of
from test_browser import browser as browser
from test_browser import lab as lab

pytestmark = [pytest.mark.browser, pytest.mark.skipif(not CHROMIUM, reason="There is no Chromium on this computer.")]

LESSONS = [pytest.param(getattr(each, "values", (each,))[0], marks=pytest.mark.slow) for each in NOTEBOOKS]
CELLS = [
    """\
import mefit as mf
from mefit.base.progress import progress_line
with progress_line("counting", 20) as line:
    for _ in range(20):
        line.update()""",
    """\
from workshop.explorers.panel import Explorer, Slider
def paint(picture, x):
    picture.subplots().barh([0], [x])
def painted(value):
    return Explorer(lambda x: x, paint, lambda x: f"x = {x:g}", {"x": Slider("x", 0.0, 9.0, value)}, alt="A bar.")
first = painted(4.0)
first""",
    "second = painted(7.0)\nsecond",
    "import pandas as pd\npd.DataFrame({'subject': [1, 2], 'dose': [4.0, 5.0]})",
]
DEAD = re.compile(r"model not found|error displaying widget|loading widget", re.IGNORECASE)

# Of every output on an exported page: its height, and what it is. Progress that has ended takes no room.
EMPTY = """() => [...document.querySelectorAll(".jp-OutputArea-output")]
    .filter(output => !output.innerText.trim() && !output.querySelector("img, svg, table"))
    .map(output => output.closest(".jp-OutputArea-child").getBoundingClientRect().height)"""


def keep(page, name: str) -> None:
    """Keep a screenshot where one is asked for."""
    if folder := os.environ.get("MEFIT_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(Path(folder, f"{name}.png")), full_page=True)


def day_one(notebook: Path, lab, browser) -> tuple[Path, list[str]]:
    """Run it, move every explorer a little, save, close: the file, and the pictures that were last seen."""
    opened = Opened(browser, lab, notebook)
    try:
        opened.run()
        shown = opened.explorers()
        for explorer in shown:
            handle = explorer.panel.locator(".noUi-handle").first
            handle.focus()
            explorer.changes(lambda: opened.page.keyboard.press("ArrowRight"))
        seen = [explorer.picture() for explorer in shown]
        return opened.save(), seen
    finally:
        opened.close()


def day_two(file: Path, seen: list[str], lab, browser, go_on: bool) -> None:
    """Open it with a new kernel: the same pictures are there; and, if asked, go on."""
    opened = Opened(browser, lab, file)
    page = opened.page
    try:
        opened.has_started()
        page.wait_for_selector(".mefit-explorer img")
        page.wait_for_function(f"document.querySelectorAll('.mefit-explorer img').length == {len(seen)}")
        shown = opened.explorers()
        assert [explorer.picture() for explorer in shown] == seen
        assert not DEAD.search(page.locator(".jp-NotebookPanel").inner_text())
        for explorer in shown:
            said = explorer.panel.evaluate("panel => getComputedStyle(panel, '::before').content")
            assert "Run this cell" in said
            assert explorer.panel.inner_text().strip()
        shown[0].keep(f"reopened_{opened.name}")
        if go_on:
            page.get_by_role("menuitem", name="Run", exact=True).click()
            page.locator('[data-command="runmenu:run-all"]').click()
            alive = ".mefit-explorer:not(.jupyter-widgets-disconnected) img"
            page.wait_for_function(f"document.querySelectorAll('{alive}').length == {len(seen)}")
            again = opened.explorers()
            again[0].press(again[0].panel.locator(".noUi-handle").first, "ArrowRight")
            said = again[0].panel.evaluate("panel => getComputedStyle(panel, '::before').content")
            assert said == "none"
    finally:
        opened.close()
    assert opened.left == []
    assert opened.complaints == []


def exported(file: Path, folder: Path) -> Path:
    """The page that nbconvert makes of it, with the kit's settings."""
    environment = os.environ | {"JUPYTER_CONFIG_PATH": str(KIT), "JUPYTER_CONFIG_DIR": str(folder / "config")}
    command = [sys.executable, "-m", "nbconvert", "--to=html", f"--output-dir={folder}", str(file)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / f"{file.stem}.html"


def read_offline(page_file: Path, pictures: int, browser) -> None:
    """Every explorer on an exported page is a picture with a sentence, and no place on it is empty."""
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 1000})
    try:
        page = context.new_page()
        page.goto(page_file.as_uri(), wait_until="domcontentloaded")
        images = page.locator('.jp-OutputArea-output img[src^="data:image/png"] + p')
        assert images.count() == pictures
        assert all(text.strip() for text in images.all_inner_texts())
        widths = "() => [...document.querySelectorAll('.jp-OutputArea-output img')].map(image => image.naturalWidth)"
        assert min(page.evaluate(widths)) > 0
        assert not DEAD.search(page.locator("body").inner_text())
        assert max(page.evaluate(EMPTY), default=0) <= 1
        keep(page, f"exported_{page_file.stem}")
    finally:
        context.close()


def test_a_short_notebook(tmp_path, lab, browser):
    file, seen = day_one(notebook_of(tmp_path / "short.ipynb", CELLS), lab, browser)
    assert len(seen) == 2
    read_offline(exported(file, tmp_path), len(seen), browser)
    by_menu = tmp_path / "by_menu.html"  # Save and Export Notebook As → HTML
    by_menu.write_bytes(Opened.server(lab[0], "GET", f"/nbconvert/html/{file.name}"))
    read_offline(by_menu, len(seen), browser)
    day_two(file, seen, lab, browser, go_on=True)


@pytest.mark.parametrize("notebook", LESSONS)
def test_the_lesson(notebook, tmp_path, lab, browser):
    file, seen = day_one(HOME / notebook, lab, browser)
    saved = nbformat.read(file, 4)
    kinds = [output.get("data", {}) for cell in saved.cells for output in cell.get("outputs", ())]
    assert sum("application/vnd.jupyter.widget-view+json" in data for data in kinds) == len(seen)
    day_two(file, seen, lab, browser, go_on=False)
    read_offline(exported(file, tmp_path), len(seen), browser)


def test_the_settings_are_those_of_the_kit():
    told = json.loads((KIT / "overrides.json").read_text())
    assert told["@jupyter-widgets/jupyterlab-manager:plugin"] == {"saveState": True}
    tracker = told["@jupyterlab/notebook-extension:tracker"]
    assert tracker.pop("codeCellConfig")["lineWrap"], "a long line of code would be cut, or scroll sideways"
    assert tracker == {"scrollPastEnd": False, "windowingMode": "none"}

"""A learner's second day: a lesson that was run, saved and closed is opened again, with a new kernel; or exported, and
read without a network. Each explorer is there as a picture with its sentence, and nothing says that it is dead.

Needs what `test_browser.py` needs, and uses the settings that are shipped with the kit.
"""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from test_browser import CHROMIUM, HOME, KIT, Opened, nbformat, notebook_of
from test_browser import LESSONS as EVERY
from test_browser import browser as browser
from test_browser import lab as lab

pytestmark = [pytest.mark.browser, pytest.mark.skipif(not CHROMIUM, reason="There is no Chromium on this computer.")]

LESSONS = [pytest.param(name, marks=pytest.mark.slow) for name in EVERY]
CELLS = [
    """\
from mefit.base.progress import progress_line
from workshop import explorers
from workshop.predictions import predict
with progress_line("counting", 20) as line:
    for _ in range(20):
        line.update()""",
    "explorers.eight_schools()",
    "explorers.welcome()",
    'predict("02", "pairs")',
    "from mefit import plots\nplots.histogram([-1.0, 0.2, 0.9, 1.4]).figure",
    "import pandas as pd\npd.DataFrame({'subject': [1, 2], 'dose': [4.0, 5.0]})",
]
DEAD = re.compile(r"model not found|error displaying widget|loading widget", re.IGNORECASE)
STAGES = "document.querySelectorAll('.mefit-stage').length"
AWAKE = "document.querySelectorAll('.mefit-stage[data-awake]').length"

# What JupyterLab draws before a widget without a kernel.
CHAINS = """() => [...document.querySelectorAll(".mefit-stage-view")]
    .map(view => getComputedStyle(view, "::before").content)"""
# Of every output on an exported page: its height, and what it is. Progress that has ended takes no room.
EMPTY = """() => [...document.querySelectorAll(".jp-OutputArea-output")]
    .filter(output => !output.innerText.trim() && !output.querySelector("img, svg, table"))
    .map(output => output.closest(".jp-OutputArea-child").getBoundingClientRect().height)"""


def keep(page, name: str) -> None:
    """Keep a screenshot where one is asked for."""
    if folder := os.environ.get("MEFIT_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(Path(folder, f"{name}.png")), full_page=True)


@dataclass
class Seen:
    """What was last on the page: of each explorer the picture and the sentence, and of each prediction its words."""

    pictures: list[str]
    sentences: list[str]
    predictions: list[str]

    @classmethod
    def of(cls, opened: Opened) -> "Seen":
        shown = opened.explorers()
        opened.page.wait_for_timeout(500)  # the last picture may still glide
        asked = opened.page.locator(".mefit-prediction")
        told = [" ".join(each.locator(".asks, .says").all_text_contents()) for each in asked.all()]
        return cls([lasting(each) for each in shown], [each.says() for each in shown], told)


def lasting(explorer) -> str:
    """Of a picture, what outlasts its page: not where its marks were before the last move, nor names made by chance."""
    drawn = explorer.image.evaluate(
        """panels => {
            const copy = panels.cloneNode(true);
            for (const before of copy.querySelectorAll(".was")) before.remove();
            for (const part of copy.querySelectorAll("*"))
                for (const { name, value } of [...part.attributes].sort((a, b) => (a.name < b.name ? -1 : 1))) {
                    part.removeAttribute(name);  // and put to the end: their order is that of the moves
                    part.setAttribute(name, value);
                }
            return copy.innerHTML;
        }"""
    )
    return re.sub(r"mefit-[0-9a-z]+-[\w-]+", "a-name", drawn)


def assert_same_picture(now: str, before: str) -> None:
    """The same marks and words, and each place in pixels the same but for the rounding of its last digit."""
    pixels = re.compile(r"-?\d+\.\d\b")
    assert pixels.sub("", now) == pixels.sub("", before)
    ours, theirs = ([float(place) for place in pixels.findall(picture)] for picture in (now, before))
    assert ours == pytest.approx(theirs, abs=0.11)


def day_one(notebook: Path, lab, browser, answer: bool = False) -> tuple[Path, Seen]:
    """Run it, move every explorer a little, answer the first prediction if asked, save, close."""
    opened = Opened(browser, lab, notebook)
    try:
        opened.run()
        for explorer in opened.explorers():
            explorer.nudge()
        if answer:
            prediction = opened.page.locator(".mefit-prediction").first
            prediction.locator("input").focus()
            opened.page.keyboard.type("0.9")
            opened.page.keyboard.press("Enter")
            opened.page.wait_for_selector(".mefit-prediction[data-state=wrong]")
        seen = Seen.of(opened)
        assert opened.complaints == []
        return opened.save(), seen
    finally:
        opened.close()


def day_two(file: Path, seen: Seen, lab, browser, go_on: bool) -> None:
    """Open it with a new kernel: the same pictures and sentences are there, at rest; and, if asked, go on."""
    opened = Opened(browser, lab, file)
    page = opened.page
    count = len(seen.pictures) + len(seen.predictions)
    try:
        opened.has_started()
        page.wait_for_function(f"{STAGES} == {count}")
        again = Seen.of(opened)
        assert (again.sentences, again.predictions) == (seen.sentences, seen.predictions)
        for now, before in zip(again.pictures, seen.pictures, strict=True):
            assert_same_picture(now, before)
        assert not DEAD.search(page.locator(".jp-NotebookPanel").inner_text())
        for place in page.locator(".mefit-stage").all():
            if place.get_attribute("data-state") not in ("right", "wrong"):  # a locked prediction has no more to do
                place.get_by_text("Run this cell to bring it to life").wait_for(state="visible")
        assert set(page.evaluate(CHAINS)) <= {"none", "normal"}, "a broken chain says that it is dead"
        keep(page, f"reopened_{opened.name}")
        if go_on:
            opened.run()
            page.wait_for_function(f"{STAGES} == {count} && {AWAKE} == {count}")
            for explorer in opened.explorers():
                explorer.nudge()
            assert page.locator(".mefit-stage .rest:visible").count() == 0
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


def read_offline(page_file: Path, saved: list[dict[str, str]], browser) -> None:
    """On an exported page every explorer is a picture with its sentence, as when its cell was run, every prediction is
    told in words, and no place is empty."""
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 1000})
    try:
        page = context.new_page()
        page.goto(page_file.as_uri(), wait_until="domcontentloaded")
        images = page.locator('.jp-OutputArea-output img[src^="data:image/png"] + p')
        assert images.all_text_contents() == [data["text/plain"] for data in saved if "image/png" in data]
        asked = page.locator(".jp-OutputArea-output p", has=page.locator("b", has_text="Your prediction."))
        assert asked.count() == sum("image/png" not in data for data in saved)
        widths = "() => [...document.querySelectorAll('.jp-OutputArea-output img')].map(image => image.naturalWidth)"
        assert min(page.evaluate(widths), default=1) > 0
        without_words = "No description has been provided for this image"  # nbconvert's, where there is no other
        assert page.locator(f'img:not([alt]), img[alt=""], img[alt="{without_words}"]').count() == 0
        assert not DEAD.search(page.locator("body").inner_text())
        assert max(page.evaluate(EMPTY), default=0) <= 1
        keep(page, f"exported_{page_file.stem}")
    finally:
        context.close()


def drawn_in(file: Path) -> list[dict[str, str]]:
    """What was saved of each explorer and each prediction, in every form."""
    outputs = [output for cell in nbformat.read(file, 4).cells for output in cell.get("outputs", ())]
    kinds = [output.get("data", {}) for output in outputs]
    return [data for data in kinds if "application/vnd.jupyter.widget-view+json" in data]


def test_a_short_notebook(tmp_path, lab, browser):
    file, seen = day_one(notebook_of(tmp_path / "short.ipynb", CELLS), lab, browser, answer=True)
    assert len(seen.pictures) == 2 and len(seen.predictions) == 1
    saved = drawn_in(file)
    read_offline(exported(file, tmp_path), saved, browser)
    by_menu = tmp_path / "by_menu.html"  # Save and Export Notebook As → HTML
    by_menu.write_bytes(Opened.server(lab[0], "GET", f"/nbconvert/html/{file.name}"))
    read_offline(by_menu, saved, browser)
    day_two(file, seen, lab, browser, go_on=True)


@pytest.mark.parametrize("notebook", LESSONS)
def test_the_lesson(notebook, tmp_path, lab, browser):
    file, seen = day_one(HOME / notebook, lab, browser)
    saved = drawn_in(file)
    assert ["image/png" in data for data in saved].count(True) == len(seen.pictures)
    assert len(saved) == len(seen.pictures) + len(seen.predictions)
    day_two(file, seen, lab, browser, go_on=False)
    read_offline(exported(file, tmp_path), saved, browser)


def test_the_settings_are_those_of_the_kit():
    told = json.loads((KIT / "overrides.json").read_text())
    assert told["@jupyter-widgets/jupyterlab-manager:plugin"] == {"saveState": True}
    tracker = told["@jupyterlab/notebook-extension:tracker"]
    assert tracker.pop("codeCellConfig")["lineWrap"], "a long line of code would be cut, or scroll sideways"
    assert tracker == {"scrollPastEnd": False, "windowingMode": "none"}

"""What a learner does: open a notebook in JupyterLab, run it, move a slider with an arrow key, see the picture change.

Needs Playwright and an installed Chromium (MEFIT_CHROMIUM names one elsewhere); skipped without. Nothing is downloaded
and nothing may leave this computer. With MEFIT_SCREENSHOTS set to a folder, each page is kept there as a PNG.
"""

import contextlib
import json
import os
import re
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from servers import PATIENCE, free_port, serving, until

from workshop import explorers

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed.")
nbformat = pytest.importorskip("nbformat")

HOME = Path(__file__).resolve().parents[2]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = os.environ.get("MEFIT_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
TOKEN = "browser-test"

pytestmark = [pytest.mark.browser, pytest.mark.skipif(not CHROMIUM, reason="There is no Chromium on this computer.")]

# All lessons; each must show at least one explorer.
LESSONS = sorted(file.relative_to(HOME).as_posix() for file in (HOME / "workshop").glob("[0-9]*.ipynb"))
# One is opened in every run: each explorer is worked by a test of its own, below, and nbval runs each lesson.
NOTEBOOKS = [LESSONS[0], *(pytest.param(name, marks=pytest.mark.slow) for name in LESSONS[1:])]

KIT = HOME / ".jupyter"  # the settings that learners have


@contextlib.contextmanager
def jupyterlab(root: Path, home: Path = HOME):
    """The address and the folder of a JupyterLab of this interpreter, with settings and workspace of its own below
    `root`; its kernels import the kit at `home`."""
    own = {
        name: str(root / name.lower())
        for name in (
            *("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "MPLCONFIGDIR"),
            *("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR"),
        )
    }
    for plugin, settings in json.loads((KIT / "overrides.json").read_text()).items():
        file = Path(own["JUPYTERLAB_SETTINGS_DIR"], f"{plugin.replace(':', '/')}.jupyterlab-settings")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(settings))
    own["JUPYTER_CONFIG_PATH"] = str(KIT)
    own["MEFIT_PROGRESS"] = str(root / "progress.json")  # what is predicted here is nobody's
    files = root / "files"
    files.mkdir()
    port = free_port()
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}"]
    command += ["--port-retries=0", f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={files}"]
    command += ["--allow-root"] if getattr(os, "geteuid", lambda: 1)() == 0 else []
    own["PYTHONPATH"] = os.pathsep.join(filter(None, (str(home), os.environ.get("PYTHONPATH"))))
    address = f"http://127.0.0.1:{port}"
    with serving(command, own, root / "lab.log", f"{address}/api?token={TOKEN}"):
        yield address, files


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab for all tests of a file: its address and its folder."""
    with jupyterlab(tmp_path_factory.mktemp("jupyter")) as running:
        yield running


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


def all_states_are_in(notebook: dict) -> bool:
    """Whether a saved notebook has the state of each widget that its outputs show, and of one at least."""
    kept = notebook["metadata"].get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {})
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", ())]
    views = [output.get("data", {}).get("application/vnd.jupyter.widget-view+json") for output in outputs]
    names = {view["model_id"] for view in views if view}
    return bool(names) and names <= set(kept.get("state", {}))


class Opened:
    """A notebook open in a browser, and everything that its page asked for or complained of."""

    def __init__(self, browser, lab, notebook: Path, **window):
        self.address, self.files = lab
        files = self.files
        if notebook.parent != files:
            shutil.copy(notebook, files / notebook.name)
        shutil.copytree(HOME / "workshop" / "data", files / "data", dirs_exist_ok=True)  # what it reads
        self.name = notebook.stem
        code = [c for c in nbformat.read(notebook, 4).cells if c.cell_type == "code" and c.source.strip()]
        self.cells = sum(not c.metadata.get("jupyter", {}).get("source_hidden") for c in code)  # a fold has no prompt
        self.left: list[str] = []
        self.complaints: list[str] = []
        self.page = browser.new_page(**{"viewport": {"width": 1280, "height": 1100}} | window)
        self.page.set_default_timeout(PATIENCE * 1000)
        self.page.on("request", lambda request: self._asked(request.url))
        self.page.on("websocket", lambda websocket: self._asked(websocket.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda said: said.type == "error" and self.complaints.append(said.text))
        # On a busy machine JupyterLab may ask for a kernel, or whether to wait for one, over the whole page; it may
        # ask twice in a row, so the second question is answered too instead of being waited for until it goes.
        dialog = self.page.locator("dialog.jp-Dialog")
        self.page.add_locator_handler(dialog, lambda _: self.accept(), no_wait_after=True)
        # A workspace for each, or JupyterLab would open what was open before as well, in front.
        self.page.goto(f"{self.address}/lab/workspaces/{self.name}/tree/{notebook.name}?token={TOKEN}")
        self.page.wait_for_selector(".jp-NotebookPanel .jp-CodeCell")

    def _asked(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and parts.hostname != "127.0.0.1":
            self.left.append(url)

    def accept(self) -> None:
        """Say yes to what JupyterLab asks, if it asks anything."""
        script = """() => {
            const dialog = document.querySelector("dialog.jp-Dialog");
            dialog?.querySelector(".jp-mod-accept")?.click();
            return dialog?.innerText;
        }"""
        if asked := self.page.evaluate(script):
            print(f"{self.name}: JupyterLab asked: {asked!r}")

    def has_started(self) -> None:
        """Wait for the kernel."""

        def has_kernel() -> bool:
            # Asked to run before it has a kernel, JupyterLab would ask which one to take. Its own sign is not enough:
            # it can say "idle" before there is any.
            self.accept()
            sessions = json.loads(self.server(self.address, "GET", "/api/sessions"))
            mine = [s for s in sessions if s["name"] == f"{self.name}.ipynb" and s["kernel"]]
            return any(session["kernel"]["execution_state"] == "idle" for session in mine)

        until(has_kernel, f"a kernel for {self.name}", every=0.5)
        self.page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="idle"]')

    def run(self) -> None:
        """Run all cells and wait for the last; fails with the text of the first error."""

        def prompts() -> list[str]:
            shown = self.page.locator(".jp-NotebookPanel .jp-InputPrompt").all_inner_texts()
            return [prompt for prompt in shown if re.search(r"[\d*]", prompt)]

        def started() -> bool:
            # A click right after the kernel reports idle is sometimes lost, so it is given again.
            self.page.keyboard.press("Escape")
            self.page.get_by_role("menuitem", name="Run", exact=True).click(timeout=60_000)
            self.page.locator('[data-command="runmenu:run-all"]').click(timeout=60_000)
            end = time.monotonic() + 10
            while prompts() == before and time.monotonic() < end:
                time.sleep(0.1)
            return prompts() != before

        def complete() -> int:
            return sum("*" not in prompt for prompt in prompts())

        def finished() -> bool:
            told = self.page.locator('[data-mime-type="application/vnd.jupyter.stderr"]')
            errors = told.filter(has_text="Traceback (most recent call last)").all_inner_texts()
            assert not errors, f"{self.name}: {errors[0][-1500:]}"
            return len(prompts()) >= self.cells and not any("*" in prompt for prompt in prompts())

        def moved(ended: int) -> Callable[[], bool]:
            return lambda: finished() or complete() != ended

        self.has_started()
        before = prompts()  # of the day before, where it was run and saved
        until(started, f"{self.name} to run", every=1)
        while not finished():  # patience is for a cell, not for a lesson
            until(moved(complete()), f"a cell of {self.name} to end", every=0.5)

    def save(self) -> Path:
        """Save the notebook as a learner does; the file, once it holds the state of the explorers."""
        file = self.files / f"{self.name}.ipynb"
        self.page.locator(".jp-NotebookPanel").first.click(position={"x": 3, "y": 3})
        self.page.keyboard.press("Control+s")

        def saved() -> bool:
            try:
                return all_states_are_in(json.loads(file.read_text(encoding="utf-8")))
            except ValueError:  # it is being written
                return False

        until(saved, f"{self.name} to be saved", seconds=60)
        return file

    def explorers(self) -> list["Shown"]:
        """All of them, in the order of the page, once everything that is drawn in the browser is there."""
        drawn = "count => document.querySelectorAll('.mefit-stage').length == count"
        self.page.wait_for_function(f"() => ({drawn})(document.querySelectorAll('.mefit-stage-view').length || -1)")
        return [Shown(self.page, panel) for panel in self.page.locator(".mefit-stage:not(.mefit-prediction)").all()]

    def close(self) -> None:
        """Keep a screenshot where one is asked for, close the page, and end its kernel."""
        if folder := os.environ.get("MEFIT_SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=str(Path(folder, f"{self.name}.png")))
        self.page.close()
        for session in json.loads(self.server(self.address, "GET", "/api/sessions")):
            self.server(self.address, "DELETE", f"/api/sessions/{session['id']}")

    @staticmethod
    def server(address: str, method: str, path: str) -> bytes:
        """What the server of an address answers."""
        request = urllib.request.Request(address + path, headers={"Authorization": f"token {TOKEN}"}, method=method)
        return urllib.request.urlopen(request, timeout=60).read()


# What a test asks an explorer after every key, in one question: each makes a long page lay itself out anew.
STATE = """panel => {
    const image = panel.querySelector(".panels"), box = image.getBoundingClientRect();
    const alerts = [...panel.querySelectorAll("[role=alert]")].filter(one => one.checkVisibility());
    return {
        answers: Number(panel.dataset.seq), picture: image.innerHTML, alerts: alerts.length,
        size: [Math.round(box.width), Math.round(box.height)],
    };
}"""


class Shown:
    """One explorer on a page: its picture is what the page holds, after an answer from Python."""

    def __init__(self, page, panel):
        self.page, self.panel, self.image = page, panel, panel.locator(".panels")
        self.image.scroll_into_view_if_needed()

    def words(self) -> str:
        """What a screen reader calls the picture."""
        return self.image.get_attribute("aria-label") or ""

    def says(self) -> str:
        """The sentence, and what waits behind *Numbers*."""
        return " ".join(self.panel.locator(".says, details p").all_text_contents()).strip()

    def handle(self):
        """The first thing that arrow keys move."""
        return self.panel.locator(".handle").first

    def picture(self) -> str:
        return self.image.inner_html()

    def answers(self) -> int:
        """How many times Python has answered."""
        return int(self.panel.get_attribute("data-seq"))

    def changes(self, move: Callable[[], object]) -> float:
        """Seconds from the move to an answer and another picture, at the same size and without a word of error."""
        before = self.panel.evaluate(STATE)
        start = time.perf_counter()
        move()

        def moved() -> bool:
            return self.answers() > before["answers"] and self.picture() != before["picture"]

        until(moved, "an answer from Python and another picture", seconds=30, every=0.005)
        taken = time.perf_counter() - start
        after = self.panel.evaluate(STATE)
        assert after["size"] == before["size"]
        assert after["alerts"] == 0
        return taken

    def press(self, control, *keys: str) -> None:
        """The picture changes when the keys are pressed, one after the other, with the control in focus."""

        def pressed() -> None:
            control.focus()
            for key in keys:
                self.page.keyboard.press(key)

        self.changes(pressed)

    def nudge(self, handle=None) -> None:
        """Move a handle by one press of an arrow, the first one if none is given."""
        held = handle or self.handle()
        at, most = (float(held.get_attribute(f"aria-value{name}")) for name in ("now", "max"))
        self.press(held, "ArrowLeft" if at >= most else "ArrowRight")

    def work_every_control(self) -> int:
        """Move every control by the keyboard; how many there are."""
        count = 0
        # First, because some controls show in the picture once the answer is asked for.
        for box in self.panel.locator("input[type=checkbox]").all():
            self.press(box, "Space")
            count += 1
        for slider in self.panel.locator("input[type=range]").all():
            at, most = int(slider.input_value()), int(slider.get_attribute("max"))
            self.press(slider, "ArrowLeft" if at >= most else "ArrowRight")
            count += 1
        for group in self.panel.locator(".choice").all():
            self.press(group.locator("button[aria-pressed=false]").first, "Enter")
            count += 1
        for handle in self.panel.locator(".handle").all():
            self.nudge(handle)
            count += 1
        return count

    def keep(self, name: str) -> None:
        """Keep a screenshot where one is asked for."""
        if folder := os.environ.get("MEFIT_SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.panel.screenshot(path=str(Path(folder, f"explorer_{name}.png")))


def notebook_of(file: Path, cells: list[str]) -> Path:
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(made, file)
    return file


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    cells = ["from workshop import explorers", "explorer = explorers.three_patients()\nexplorer"]
    return notebook_of(tmp_path_factory.mktemp("notebooks") / "panel.ipynb", cells)


FIT = """\
import sys
import numpy as np
sys.path[:0] = [{tests!r}, {tests!r} + "/workshop"]
import mefit as mf
import test_explorers_09 as nine
import test_explorers_10 as ten
import test_explorers_11 as eleven
import test_explorers_12 as twelve
from models import theophylline_model
from workshop import explorers
fit = mf.fit(theophylline_model(), mf.datasets.theophylline(), mf.FO(), progress=False)
from types import SimpleNamespace
from workshop.studies import saturation
people = saturation.simulate(20, seed=1)  # an untrained network will do: it is the hands that are tested
menet = SimpleNamespace(model=saturation.start(), population=people, eta=0.1 * people.subjects.y[:, :2])
lines = ten.straight_lines()
own = ten.each_alone(lines)
encoders = ten.untrained(lines)
trained = SimpleNamespace(model=own.model, encoder=encoders[0])"""
GIVEN = {"pooling": "fit", "saem_step_by_step": "fit", "latent_pad": "menet"}
GIVEN |= {"ladder": "[0.1, 1.0, 3.0], range(3), np.ones((3, 3)), {'one': np.ones((3, 3)) + 0.1 * np.eye(3)}, 1.0"}
GIVEN |= {"inside_the_ode": "nine.MODEL", "virtual_trial": "nine.study.true_mechanism(), nine.EFFECTS"}
GIVEN |= {"one_network": "own, encoders, np.eye(3)", "day_by_day": "trained, lines, ten.jax.random.key(1)"}
GIVEN |= {"batch_size": "eleven.TRAINED", "other_doses": "*eleven.untrained()"}
GIVEN |= dict.fromkeys(("gate_by_hand", "class_by_class"), "*twelve.patients()")
GIVEN |= dict.fromkeys(("generative", "prior_to_posterior"), "menet, people")


def test_every_explorer_of_the_kit_is_worked_by_the_keyboard_alone(tmp_path, lab, browser):
    """Every slider, choice and switch of every explorer: a key is pressed, the picture changes, no error is said.

    With MEFIT_SCREENSHOTS, a picture of each explorer after its moves is kept there.
    """
    names = [name for name in explorers.__all__ if name != "Refused"]
    cells = [FIT.format(tests=str(HOME / "tests"))]
    cells += [f"explorers.{name}({GIVEN.get(name, '')})" for name in names]
    opened = Opened(browser, lab, notebook_of(tmp_path / "all_explorers.ipynb", cells))
    try:
        opened.run()
        # JupyterLab draws what is out of sight when it has time: on a busy machine the last ones come late
        until(lambda: len(opened.explorers()) >= len(names), f"{len(names)} explorers", seconds=2 * PATIENCE, every=1)
        shown = opened.explorers()
        assert len(shown) == len(names)
        for name, explorer in zip(names, shown, strict=True):
            moved = explorer.work_every_control()
            assert moved >= 1, f"{name} has no control"
            assert explorer.panel.inner_text().strip(), f"{name} says nothing"
            assert len(explorer.words().split()) >= 5, f"{name} has no words for its picture"
            explorer.keep(name)
    finally:
        opened.close()
    assert opened.left == []
    assert opened.complaints == []


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_arrow_keys_move_the_pictures_of(notebook, lab, browser):
    opened = Opened(browser, lab, HOME / notebook)
    try:
        opened.run()
        shown = opened.explorers()
        assert shown
        for explorer in shown:
            explorer.handle().focus()
            taken = [explorer.changes(lambda: opened.page.keyboard.press("ArrowRight")) for _ in range(4)]
            print(f"{opened.name}: {1000 * sorted(taken)[1]:.0f} ms from key to picture")
    finally:
        opened.close()
    assert opened.left == []
    assert opened.complaints == []


@pytest.mark.slow
def test_the_box_beside_a_slider(small, lab, browser):
    opened = Opened(browser, lab, small)
    try:
        opened.run()
        (explorer,) = opened.explorers()
        # Found by its label: a screen reader finds it too
        box = explorer.panel.get_by_label("Prior SD ω").and_(opened.page.locator("[type=number]"))
        assert float(box.input_value()) == 1.1
        slider = explorer.panel.locator("input[type=range]").first

        def type_it():
            box.fill("0.3")
            box.press("Enter")

        explorer.changes(type_it)
        until(lambda: slider.input_value() == "13", "the slider to follow", 10)
        # The slider stands at the step nearest to 0.3, and must not have taken what was typed there.
        assert float(box.input_value()) == 0.3
        assert "joint: 1, 3, 2" in explorer.panel.inner_text()
        assert "three patients" in explorer.words()  # what a screen reader calls it
        slider.focus()
        explorer.changes(lambda: opened.page.keyboard.press("ArrowLeft"))
        assert float(box.input_value()) == 0.294
        explorer.changes(lambda: explorer.panel.get_by_role("button", name="Reset").click())
        assert float(box.input_value()) == 1.1
        explorer.changes(lambda: explorer.panel.get_by_role("button", name="the area", exact=True).click())
    finally:
        opened.close()

"""A lesson shown by Voila (the extra `demo`): a key moves a picture, and the page asks nobody but this computer.

Needs Voila, Playwright and an installed Chromium; skipped without. What `test_browser.py` says of them holds here too.
"""

import importlib.util
import shutil
import sys
from urllib.parse import urlsplit

import pytest
from servers import PATIENCE, free_port, serving
from test_browser import CHROMIUM, FLAGS, HOME, Shown, notebook_of, playwright

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="There is no Chromium on this computer."),
    pytest.mark.skipif(importlib.util.find_spec("voila") is None, reason="Voila, the extra demo, is not installed."),
]
TEMPLATE = HOME / ".jupyter" / "voila" / "templates" / "mefit"

# A line of progress that is gone when its cell has ended, and an explorer.
CELLS = [
    "from mefit.base.progress import progress_line\nwith progress_line('x', 3) as line:\n    line.update(3)",
    "from workshop import explorers\nexplorers.three_patients()",
]


@pytest.fixture
def address(tmp_path):
    """Where Voila, with the kit's template, shows a small notebook of the kit."""
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "MPLCONFIGDIR")
    own = {name: str(tmp_path / name.lower()) for name in names} | {"PYTHONPATH": str(HOME)}
    shutil.copytree(TEMPLATE, tmp_path / "jupyter_data_dir" / "voila" / "templates" / "mefit")
    notebook = notebook_of(tmp_path / "demo.ipynb", CELLS)
    port = free_port()
    command = [sys.executable, "-m", "voila", str(notebook), "--template=mefit", "--no-browser", f"--port={port}"]
    # Any answer will do: asking for the page itself would run the notebook.
    asked = f"http://127.0.0.1:{port}/voila/static/"
    with serving([*command, "--Voila.ip=127.0.0.1"], own, tmp_path / "voila.log", asked, any_answer=True):
        yield f"http://127.0.0.1:{port}/"


def test_a_lesson_in_front_of_a_class(address):
    left: list[str] = []
    complaints: list[str] = []

    def asked(url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and parts.hostname != "127.0.0.1":
            left.append(url)

    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(PATIENCE * 1000)
        page.on("request", lambda request: asked(request.url))
        page.on("websocket", lambda websocket: asked(websocket.url))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: said.type == "error" and complaints.append(said.text))
        page.goto(address)
        page.wait_for_selector(".mefit-stage[data-seq] .handle")
        (panel,) = page.locator(".mefit-stage").all()
        shown = Shown(page, panel)
        shown.press(shown.handle(), "ArrowRight")
        shown.press(shown.handle(), "ArrowLeft")
        assert "model not found" not in page.locator("body").inner_text()
        browser.close()
    assert left == []
    assert complaints == []

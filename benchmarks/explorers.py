"""How explorers follow a hand: `python benchmarks/explorers.py` prints pictures and frames a second, and a key's wait.

    python benchmarks/explorers.py                     explorers that need no fit, each dragged for four seconds
    python benchmarks/explorers.py eight_schools       these
    python benchmarks/explorers.py --beside FOLDER     beside those of an older copy of the kit, whose pictures are PNGs

JupyterLab and Chromium as the browser tests start them. The hand is simulated in the page, a move at every animation
frame, since a real one, sent from outside, reaches the page less often than that. A picture is an answer of Python that
has arrived; a frame is one in which marks have moved, which they also do between two answers. A key is timed from its
arrival in the page to that of Python's answer.
"""

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "workshop")]

import test_browser as kit  # noqa: E402
from playwright.sync_api import Page, sync_playwright  # noqa: E402
from run import table  # noqa: E402
from servers import until  # noqa: E402

NAMES = ("eight_schools", "three_patients", "what_can_be_known", "shrinkage", "sampling_times")
SECONDS = 4.0
KEYS = 15
WATCH = """([root, old]) => {
    Element.prototype.setPointerCapture = () => {};  // the hand below is none that a browser knows
    const told = { pictures: 0, frames: 0, page: 0, moved: false, key: null, waited: [] };
    const arrived = () => {
        told.pictures += 1;
        if (told.key !== null) told.waited.push(performance.now() - told.key);
        told.key = null;
    };
    const shown = old ? root.querySelector("img") : root;
    const wanted = { attributes: true, attributeFilter: [old ? "src" : "data-seq"] };
    new MutationObserver(arrived).observe(shown, wanted);
    const moved = (records) => {
        if (old || records.some((record) => record.target.closest?.(".mark"))) told.moved = true;
    };
    const deep = { attributes: true, childList: true, subtree: !old };
    new MutationObserver(moved).observe(old ? shown : root.querySelector(".panels"), deep);
    document.addEventListener("keydown", () => { told.key = performance.now(); }, true);
    const frame = () => {
        told.page += 1;
        told.frames += told.moved;
        told.moved = false;
        requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
    window.told = told;
}"""
DRAG = """async ([handle, seconds, across, old]) => {
    const box = handle.getBoundingClientRect();
    const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
    const Event = old ? MouseEvent : PointerEvent;  // what the sliders of ipywidgets hear
    const point = (kind, clientX) => handle.dispatchEvent(new Event((old ? "mouse" : "pointer") + kind, {
        clientX, clientY: y, pointerId: 1, pointerType: "mouse", button: 0, buttons: 1, bubbles: true, cancelable: true,
    }));
    const before = { ...window.told };
    point("down", x);
    const begun = performance.now();
    await new Promise((done) => {
        const step = (now) => {
            point("move", x + across * Math.sin((now - begun) / 400));
            if (now - begun < 1000 * seconds) requestAnimationFrame(step);
            else done();
        };
        requestAnimationFrame(step);
    });
    point("up", x);
    const took = (performance.now() - begun) / 1000;
    return ["pictures", "frames", "page"].map((name) => (window.told[name] - before[name]) / took);
}"""


def followed(page: Page, root: Any, handle: Any, old: bool) -> list[float]:
    """Pictures, frames and the page's own frames a second of a drag, and milliseconds behind a key."""
    page.evaluate(WATCH, [root.element_handle(), old])
    rates = page.evaluate(DRAG, [handle.element_handle(), SECONDS, 120, old])
    page.wait_for_timeout(800)
    page.evaluate("() => { window.told.waited = []; window.told.key = null; }")
    for turn in range(KEYS):
        handle.focus()
        page.keyboard.press("ArrowRight" if turn % 2 else "ArrowLeft")
        page.wait_for_timeout(400)
    waits = page.evaluate("() => window.told.waited")
    return [*rates, statistics.median(waits), max(waits), len(waits)]


def measured(browser: Any, home: Path, names: list[str], old: bool) -> dict[str, list[float]]:
    """What each explorer of the kit at `home` does, one after the other in notebooks of their own."""
    found = {}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, kit.jupyterlab(Path(folder), home) as lab:
        for name in names:
            cells = ["from workshop import explorers", f"e = explorers.{name}()\ne"]
            opened = kit.Opened(browser, lab, kit.notebook_of(Path(folder, f"{name}.ipynb"), cells))
            opened.run()
            root = opened.page.locator(".mefit-explorer" if old else ".mefit-stage").first
            handle = root.locator(".noUi-handle" if old else ".handle").first
            until(handle.is_visible, "a handle")
            opened.page.wait_for_timeout(3000)
            found[name] = followed(opened.page, root, handle, old)
            opened.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(NAMES))
    parser.add_argument("--beside", type=Path, help="an older copy of the kit")
    options = parser.parse_args()
    rows = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=kit.CHROMIUM, args=kit.FLAGS)
        kits = [("drawn in the browser", ROOT, False)]
        kits += [("PNG", options.beside.resolve(), True)] if options.beside else []
        for how, home, old in kits:
            for name, told in measured(browser, home, options.names, old).items():
                pictures, frames, page, key, most, count = told
                row = [name, how, f"{pictures:.1f}", f"{frames:.1f}", f"{page:.1f}", f"{key:.0f} ({most:.0f})"]
                print(*row, f"{count:.0f} keys", file=sys.stderr, flush=True)
                rows.append(row)
        browser.close()
    head = ["explorer", "", "pictures/s", "frames/s", "page's frames/s", "key, ms (most)"]
    table(f"Explorers under a hand, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", head, sorted(rows))


if __name__ == "__main__":
    main()

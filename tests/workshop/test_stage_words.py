"""In a narrow window, and in one that is enlarged to 150%, every word of an explorer is seen whole, and on no other.

Needs a Chromium, as `test_browser.py` says, but no notebook: the pictures are drawn from what Python would send.
"""

import pytest
from test_browser import CHROMIUM, GIVEN
from test_browser import browser as browser
from test_stage_browser import ALONE, SCRIPT

from workshop import explorers
from workshop.explorers.stage import look

pytestmark = [pytest.mark.browser, pytest.mark.skipif(not CHROMIUM, reason="There is no Chromium on this computer.")]

NAMES = sorted(set(explorers.__all__) - {"Refused", "sparse_theophylline", *GIVEN})  # those that need no fit
WHAT_IS_WRONG = """() => {
    const found = [];
    const root = document.querySelector(".mefit-stage");
    if (root.scrollWidth > root.clientWidth + 1) found.push("it is wider than the page");
    for (const panel of root.querySelectorAll(".panel")) {
        const frame = panel.getBoundingClientRect();
        const words = [...panel.querySelectorAll("text")].filter((text) => text.textContent.trim());
        const boxes = words.map((text) => text.getBoundingClientRect());
        boxes.forEach((a, i) => {
            const out = [frame.left - a.left, a.right - frame.right, frame.top - a.top, a.bottom - frame.bottom];
            if (Math.max(...out) > 2) found.push(`cut off: ${words[i].textContent}`);
            boxes.slice(0, i).forEach((b, j) => {
                const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
                const up = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
                if (across > 2 && up > 4) found.push(`on each other: ${words[j].textContent}, ${words[i].textContent}`);
            });
        });
    }
    return found;
}"""


ENLARGED = {"viewport": {"width": 911, "height": 512}, "device_scale_factor": 1.5}  # 1366 by 768 at 150%
WINDOWS = [
    (545, ENLARGED),
    (770, ENLARGED),  # the same, no list of files
    (990, {"viewport": {"width": 1366, "height": 768}, "device_scale_factor": 2}),
]
DRAWN = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done())))"


def states(explorer) -> list[tuple[str, dict]]:
    """What an explorer shows after each of the moves that it proposes."""
    shown = []
    for words, values in explorer.view.setup["tries"]:
        explorer.set(**values)
        shown.append((words, explorer.view.shown))
    return shown


@pytest.mark.parametrize("name", NAMES)
def test_no_word_is_cut_off_or_covered(name, browser):
    explorer = getattr(explorers, name)()
    first = explorer.view.shown
    shown = states(explorer)
    wrong = []
    for width, window in WINDOWS:
        page = browser.new_page(reduced_motion="reduce", **window)  # nothing glides, so that each picture is the last
        page.set_content(f"<style>{look()}</style><div id='here' style='width: {width}px'></div>")
        page.evaluate(ALONE, [SCRIPT.read_text(encoding="utf-8"), explorer.view.setup, first])
        for words, told in shown:
            page.evaluate("(told) => window.answer(told)", told)
            page.evaluate(DRAWN)
            wrong += [f"{words}, in {width} pixels: {each}" for each in page.evaluate(WHAT_IS_WRONG)]
        page.close()
    assert wrong == []

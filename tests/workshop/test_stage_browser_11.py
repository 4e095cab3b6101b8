"""Every mark of lesson 11's explorers that can be taken hold of is moved, by the mouse and by a key, in a real browser.

Needs what `test_stage_browser.py` needs, and keeps its pictures as that does.
"""

import pytest
from test_browser import CHROMIUM, FIT, GIVEN, HOME, Opened, browser, lab, notebook_of  # noqa: F401
from test_stage_browser import drag, value

pytestmark = [pytest.mark.browser, pytest.mark.skipif(not CHROMIUM, reason="There is no Chromium on this computer.")]

NAMES = ("one_more_sample", "dose_and_loss", "other_doses", "batch_size")


def test_every_mark_is_taken_hold_of(tmp_path, lab, browser):  # noqa: F811
    cells = [FIT.format(tests=str(HOME / "tests"))]
    cells += [f"explorers.{name}({GIVEN.get(name, '')})" for name in NAMES]
    opened = Opened(
        browser, lab, notebook_of(tmp_path / "lesson_11.ipynb", cells), viewport={"width": 1366, "height": 900}
    )
    moved = []
    try:
        opened.run()
        for name, explorer in zip(NAMES, opened.explorers(), strict=True):
            explorer.image.scroll_into_view_if_needed()
            handles = explorer.panel.locator(".handle")
            assert handles.count() >= 1, f"{name} has nothing to take hold of"
            for k in range(handles.count()):
                handle = handles.nth(k)
                begin, low, high = (float(handle.get_attribute(f"aria-value{end}")) for end in ("now", "min", "max"))
                way = 1 if begin - low < high - begin else -1
                across, up = 60 * way, 30 * way
                explorer.changes(lambda h=handle, a=across, u=up: drag(opened.page, h, a, u))
                by_mouse = handle.get_attribute("aria-valuetext")
                explorer.nudge(handle)
                assert handle.get_attribute("aria-valuetext") != by_mouse, f"{name}: {by_mouse} stood still"
                moved.append((name, begin, value(handle)))
            explorer.keep(name)
    finally:
        opened.close()
    print(moved)
    assert {name for name, *_ in moved} == set(NAMES)
    assert opened.left == [] and opened.complaints == []

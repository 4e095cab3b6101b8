"""Every mark of lesson 11's explorers that can be taken hold of is moved, by the mouse and by a key, in a real browser.

Needs what `test_stage_browser.py` needs, and keeps its pictures as that does.
"""

import pytest
from test_browser import CHROMIUM, browser, lab  # noqa: F401
from test_stage_browser import take_hold_of_every_mark

pytestmark = [pytest.mark.browser, pytest.mark.skipif(not CHROMIUM, reason="There is no Chromium on this computer.")]

NAMES = ("one_more_sample", "dose_and_loss", "other_doses", "batch_size")


@pytest.mark.slow
def test_every_mark_is_taken_hold_of(tmp_path, lab, browser):  # noqa: F811
    take_hold_of_every_mark(NAMES, "11", tmp_path, lab, browser)

"""On paper no word of an explorer is cut off by the edge, or covers another."""

from itertools import combinations

import pytest
from matplotlib.text import Text
from test_stage_words import NAMES

from mefit import style
from workshop import explorers
from workshop.explorers.still import still


def drawn_words(picture) -> dict[str, tuple[str, object]]:
    """What is drawn as words, and where: titles, labels, keys, ticks and words on marks."""
    style.png(picture)
    found = {}
    for ax in picture.axes:
        own = [*ax.texts, ax.xaxis.label, ax.yaxis.label, ax._left_title]
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            own += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
        found |= dict.fromkeys(own, "mark")
        found |= dict.fromkeys(own[len(ax.texts) :], "around")
    found |= {words: "key" for key in picture.legends for words in key.findobj(Text)}
    return {words: (kind, words.get_window_extent()) for words, kind in found.items() if words.get_text().strip()}


def what_is_wrong(picture) -> list[str]:
    found = drawn_words(picture)
    wrong = []
    for words, (_, box) in found.items():
        out = max(-box.x0, -box.y0, box.x1 - picture.bbox.width, box.y1 - picture.bbox.height)
        if out > 3:
            wrong.append(f"cut off by {out:.0f} pixels: {words.get_text()}")
    for (one, (kind, a)), (other, (another, b)) in combinations(found.items(), 2):
        across = min(a.x1, b.x1) - max(a.x0, b.x0)
        up = min(a.y1, b.y1) - max(a.y0, b.y0)
        if "mark" not in (kind, another) and across > 4 and up > 8:
            wrong.append(f"on each other: {one.get_text()}, {other.get_text()}")
    return wrong


@pytest.mark.parametrize("name", NAMES)
def test_on_paper_every_word_is_seen_whole(name):
    explorer = getattr(explorers, name)()
    picture = still(
        explorer._drawn, explorer._layout, explorer._widths, explorer._heights, explorer._size, explorer.alt
    )
    assert what_is_wrong(picture) == []


def test_long_words_go_on_in_a_second_line():
    """Of two panels side by side both titles and labels are too long, and so is the key."""
    axis = {"low": 0.0, "high": 1.0, "log": False, "ticks": None}
    told = {
        "panels": [
            {
                "name": name,
                "x": axis | {"label": "of the random effects, in standard deviations of the prior"},
                "y": axis | {"label": "minus twice the marginal log-likelihood of everybody"},
                "title": "What is drawn of eight patients, and of eight others",
                "cls": "guide",
            }
            for name in ("a", "b")
        ],
        "marks": [
            {"kind": "line", "panel": "a", "x": [0, 1], "y": [0, k], "cls": "guide", "weight": "thin"}
            | {"label": f"a curve of a long name and the number {k}"}
            for k in range(5)
        ]
        + [
            {"kind": "text", "panel": "b", "x": [1.0], "y": [0.5], "text": ["the most that is possible at all"]}
            | {"cls": "guide", "anchor": "start"}
        ],
    }
    picture = still(told, ["a b"], [1, 1], [1], (900, 420), "Two panels.")
    assert what_is_wrong(picture) == []
    assert picture.axes[0]._left_title.get_text().count("\n") >= 1

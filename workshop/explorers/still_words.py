"""Words of a still picture, all of them inside it: a page that is printed or has no kernel cannot be made wider.

In a browser `stage.js` moves words that would be cut off. Here the key gets as many rows as it needs, titles and
labels that are wider than their panel go on in a second line, and words at the edge are moved in.
"""

import math
import textwrap
from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

_COLUMNS = 5
_LINES = 4
_ROUNDS = 3
_EDGE = 4  # pixels
_OVER = 1.2  # heights of its panel that a label beside it may have: there is a gap above and below


def add_key(picture: Figure, entries: Mapping[str, Any]) -> None:
    """The key of all panels above them, in as many columns as fit beside each other."""
    look: dict[str, Any] = {"loc": "outside upper left", "columnspacing": 1.2, "fontsize": 11}
    for columns in range(min(_COLUMNS, len(entries)), 0, -1):
        key = picture.legend(list(entries.values()), list(entries), ncols=columns, **look)
        if columns == 1 or key.get_window_extent().width <= picture.bbox.width - _EDGE:
            return
        key.remove()


def keep_inside(picture: Figure) -> None:
    """Break titles and labels that are wider than their panel has room, and move in what still sticks out."""
    for _ in range(_ROUNDS):  # a label of two lines leaves its neighbours less
        picture.draw_without_rendering()
        if not any([_break(words, room) for ax in picture.axes for words, room in _with_room(ax, picture)]):
            break
    for ax in picture.axes:
        for words in ax.texts:
            _move_in(words, picture)


def _with_room(ax: Axes, picture: Figure) -> list[tuple[Text, float]]:
    """An axes' title and labels, and how many pixels each may take along its own direction."""
    others = [box for other in picture.axes if other is not ax for box in _boxes(other)]
    frame = ax.get_window_extent()
    middle = 0.5 * (frame.x0 + frame.x1)
    title = _title(ax)
    of_label = _end(ax.xaxis.label, others, picture) - middle
    return [
        (title, _end(title, others, picture) - frame.x0),
        (ax.xaxis.label, 2.0 * min(of_label, middle - _EDGE)),
        (ax.yaxis.label, _OVER * frame.height),
    ]


def _title(ax: Axes) -> Text:
    """The words of an axes' title, which stand on the left."""
    said = ax.get_title(loc="left")
    return next(child for child in ax.get_children() if isinstance(child, Text) and child.get_text() == said)


def _boxes(ax: Axes) -> list[Bbox]:
    """Where an axes and the words around it are."""
    words = [_title(ax), ax.xaxis.label, ax.yaxis.label]
    words += [tick.label1 for axis in (ax.xaxis, ax.yaxis) for tick in axis.get_major_ticks()]
    return [ax.get_window_extent(), *(one.get_window_extent() for one in words if one.get_text())]


def _end(words: Text, others: list[Bbox], picture: Figure) -> float:
    """How far right words may go: to what is beside them, or to the edge."""
    own = words.get_window_extent()
    beside = [box.x0 for box in others if box.x0 > own.x0 and box.y0 < own.y1 and box.y1 > own.y0]
    return min(beside, default=picture.bbox.width) - _EDGE


def _length(words: Text) -> float:
    box = words.get_window_extent()
    return box.height if words.get_rotation() == 90 else box.width


def _break(words: Text, room: float) -> bool:
    """Break words into lines until they take no more than their room; whether that changed them."""
    before = words.get_text()
    whole = before.replace("\n", " ")
    for lines in range(before.count("\n") + 2, _LINES + 1):
        if not whole or _length(words) <= room:
            break
        words.set_text(textwrap.fill(whole, math.ceil(len(whole) / lines) + 2, break_long_words=False))
    return words.get_text() != before


def _move_in(words: Text, picture: Figure) -> None:
    """Move words of a panel back into the picture, sideways."""
    box = words.get_window_extent()
    shift = max(min(0.0, picture.bbox.width - _EDGE - box.x1), _EDGE - box.x0)
    if shift < 0 or box.x0 < _EDGE:
        place = words.get_transform()
        x, y = place.transform(words.get_position())
        x, y = place.inverted().transform((x + shift, y))
        words.set_position((float(x), float(y)))

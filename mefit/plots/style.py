"""One look for every picture: one colour, one line style and one marker for one meaning.

```python
from mefit import style

picture = style.figure(760, 420)                    # in pixels; shows itself as the last line of a
cell with style.use():
    axes = picture.subplots()
    axes.plot(time, curve, **style.LINE["population"], label="typical patient")
    axes.plot(time, y, **style.POINT["data"], label="measured")
    axes.fill_between(eta, density, **style.AREA["marginal"])
```

The palette starts from Okabe and Ito's (2008, "Color universal design"), darkened until lines stand
out from white paper and until any two meanings stay apart for a reader without the red or the green
cone (the tests measure both). Colour is never alone: no two meanings share line style, width and
marker. A method that is compared with others is a meaning too, under the name of its class:
`style.LINE["FOCE"]`.
"""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from io import BytesIO
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

DPI = 100


class _Look(NamedTuple):
    """How one meaning is drawn."""

    colour: str
    stroke: Any  # matplotlib's line style
    width: float  # of a line, in points
    marker: str
    layer: float  # what has a higher one lies on top


_LOOK = {
    # what was measured
    "data": _Look("#111111", "-", 1.2, "o", 3.0),
    # what a simulation was made with, or an exact answer
    "truth": _Look("#00A06E", (0, (7, 2.5)), 2.6, "*", 2.5),
    # the typical subject, the population's parameters
    "population": _Look("#0060B0", "-", 3.4, "s", 2.4),
    # one subject: curve, empirical Bayes estimate, likelihood
    "individual": _Look("#62A8DC", "-", 1.8, "o", 2.1),
    # before the data: of a parameter, or of a random effect
    "prior": _Look("#636363", (0, (1, 1.4)), 2.6, "^", 2.0),
    # after the data
    "posterior": _Look("#CF8800", (0, (6, 1.5, 1, 1.5)), 2.6, "v", 2.3),
    # random effects maximised
    "joint": _Look("#BE3A08", (0, (3, 1.2)), 2.8, "D", 2.6),
    # random effects integrated out
    "marginal": _Look("#6A1B77", "-", 2.8, "s", 2.6),
}
# Methods side by side, each under the name of its class in `mefit`. (`JointMAP` and `JointMLE` are "joint".)
_METHOD_LOOK = {
    "FO": _Look("#EB4EB1", (0, (1, 1.2)), 2.8, "v", 2.4),
    "FOCE": _Look("#8989FF", (0, (4, 1.4)), 2.8, "^", 2.4),
    "Laplace": _Look("#76003B", (0, (6, 1.2, 1, 1.2)), 2.8, "D", 2.4),
    "AGQ": _Look("#0027B1", "-", 2.4, "s", 2.4),
    "MonteCarlo": _Look("#764E76", (0, (1, 2.2)), 2.6, "o", 2.2),
    "ImportanceSampling": _Look("#B1893B", (0, (2, 1)), 2.6, "*", 2.2),
    "Variational": _Look("#894ED8", (0, (9, 2)), 2.6, "v", 2.2),
    "SAEM": _Look("#273B00", "-", 1.6, "^", 2.2),
    "NUTS": _Look("#B1624E", (0, (4, 1, 1, 1, 1, 1)), 2.6, "D", 2.2),
}
# Models or groups side by side that have no meaning of their own, in their order. They never stand beside methods.
_SERIES_LOOK = {
    "first": _Look("#622714", (0, (1, 1.6)), 2.4, "v", 2.2),
    "second": _Look("#899D4E", (0, (6, 1.5, 1, 1.5)), 2.4, "^", 2.2),
    "third": _Look("#9A7BEF", (0, (4, 1.5)), 2.4, "D", 2.2),
    "fourth": _Look("#1B2FA8", "-", 2.2, "o", 2.2),
}
MEANINGS = tuple(_LOOK)
METHODS = tuple(_METHOD_LOOK)
SERIES = tuple(_SERIES_LOOK)
_LOOK |= _METHOD_LOOK | _SERIES_LOOK
COLOUR: dict[str, str] = {meaning: look.colour for meaning, look in _LOOK.items()}

LINE: dict[str, dict[str, Any]] = {
    meaning: {"color": look.colour, "linestyle": look.stroke, "linewidth": look.width, "zorder": look.layer}
    for meaning, look in _LOOK.items()
}
"""Keywords for `axes.plot` of a curve with this meaning."""

POINT: dict[str, dict[str, Any]] = {
    meaning: {
        "color": look.colour,
        "linestyle": "none",
        "marker": look.marker,
        "zorder": look.layer + 0.5,
        "markersize": 12.0 if look.marker == "*" else 7.0,
        "markeredgecolor": "white",
        "markeredgewidth": 0.8,
    }
    for meaning, look in _LOOK.items()
}
"""Keywords for `axes.plot` of points with this meaning."""

AREA: dict[str, dict[str, Any]] = {
    meaning: {"color": colour, "alpha": 0.28, "linewidth": 0, "zorder": 1.5} for meaning, colour in COLOUR.items()
}
"""Keywords for `axes.fill_between` of a band or an area with this meaning."""

_CYCLE = ("population", "joint", "truth", "marginal", "posterior")
# DejaVu Sans comes with matplotlib, so a picture is the same on every computer.
_SETTINGS: Any = {
    "figure.dpi": DPI,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 13,
    "axes.titlesize": 14,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 13,
    "axes.linewidth": 1.2,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=[COLOUR[meaning] for meaning in _CYCLE]),
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
    "legend.fontsize": 12,
    "legend.handlelength": 3.0,  # the longest dash, a gap and the next dash
    "legend.frameon": False,
    "lines.linewidth": 2.6,
    "lines.markersize": 7,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.8,
}


def use() -> AbstractContextManager[None]:
    """Draw in the kit's style inside the `with`, and leave everyone else's settings as they
    were."""
    return matplotlib.rc_context(_SETTINGS)


class Picture(Figure):
    """A figure that belongs to nobody but its maker.

    pyplot does not know of it, so it is not shown a second time at the end of the cell, and it is
    freed with its last name. As the last line of a notebook cell it shows itself. `alt` says what
    it is a picture of, for those who do not see it; the kit's plots fill it in.
    """

    alt: str = ""

    def _repr_png_(self) -> Any:
        return (png(self), {"alt": self.alt}) if self.alt else png(self)


def figure(width: int = 760, height: int = 420, *, layout: Any = "constrained") -> Picture:
    """An empty picture of `width` x `height` pixels, ready to draw on without a display.

    `layout="constrained"` makes room for labels by itself; a widget passes None and places its axes
    by hand, because finding the room costs as much time as drawing the picture.
    """
    with use():
        picture = Picture(figsize=(width / DPI, height / DPI), dpi=DPI, layout=layout)
    FigureCanvasAgg(picture)
    return picture


@contextmanager
def drawing(
    axes: Any, alt: str, count: int, width: int, height: int, rows: int = 1, **shape: Any
) -> Iterator[list[Axes]]:
    """`count` axes to draw on in the kit's style, inside the `with`: those given, or those of a new
    picture with that many rows, described by `alt`.
    """
    with use():
        if axes is not None:
            panels = list(np.ravel(axes))
            if len(panels) < count:
                raise ValueError(f"This plot has {count} panels and was given {len(panels)} axes; give one for each.")
        else:
            columns = math.ceil(count / rows)
            picture = figure(width, height)
            picture.alt = alt
            panels = list(picture.subplots(rows, columns, squeeze=False, **shape).ravel())
            # The last row may be short: then the panel above shows the times
            for place in range(count, len(panels)):
                panels[place].remove()
                panels[place - columns].tick_params(labelbottom=True)
        yield panels[:count]


def png(picture: Figure) -> bytes:
    """The picture as PNG bytes, exactly as large as it was made; the same picture gives the same
    bytes."""
    canvas = picture.canvas if isinstance(picture.canvas, FigureCanvasAgg) else FigureCanvasAgg(picture)
    canvas.draw()
    buffer = BytesIO()
    # The lightest compression: a slider waits for this, and the reader of the bytes sits on the
    # same computer.
    Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]).save(buffer, format="png", compress_level=1)
    return buffer.getvalue()

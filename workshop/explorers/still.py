"""A scene painted by matplotlib: the still picture for print, for pages without a kernel, and for PDF.

It takes the plain data that `Scene.data` gives, as `stage.js` does, and draws with `mefit.plots.style`.
"""

from base64 import b64decode
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.ticker import FuncFormatter, NullLocator

from mefit import style
from workshop.explorers.scene import GUIDE
from workshop.explorers.still_words import add_key, keep_inside

_GREY = "#9A9A9A"
_THIN = 1.1
_PAPER: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
_SIDE = {"start": "left", "middle": "center", "end": "right"}


def still(
    scene: dict[str, Any],
    layout: Sequence[str],
    widths: Sequence[float],
    heights: Sequence[float],
    size: tuple[int, int],
    alt: str,
) -> style.Picture:
    """The scene as a picture of `size` (width, height), with two pixels for each: it is printed and zoomed."""
    picture = style.figure(*size)
    picture.set_dpi(2 * style.DPI)
    picture.alt = alt
    with style.use():
        mosaic = [row.split() for row in layout]
        axes = picture.subplot_mosaic(mosaic, width_ratios=list(widths), height_ratios=list(heights))
        for panel in scene["panels"]:
            _set_up(axes[panel["name"]], panel)
        for order, mark in enumerate(scene["marks"]):
            _PAINT[mark["kind"]](axes[mark["panel"]], mark, 2 + 0.01 * order)
        entries: dict[str, Any] = {}
        for ax in picture.axes:
            for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
                entries.setdefault(label, handle)
        if entries:
            add_key(picture, entries)
        keep_inside(picture)
    return picture


def _colour(meaning: str) -> str:
    return _GREY if meaning == GUIDE else style.COLOUR[meaning]


def _line(mark: dict[str, Any]) -> dict[str, Any]:
    """Colour, dash and width of a line."""
    plain: dict[str, Any] = {"color": _GREY, "linewidth": 1.4}
    look = plain if mark["cls"] == GUIDE else {k: v for k, v in style.LINE[mark["cls"]].items() if k != "zorder"}
    factor = {"normal": 1.0, "strong": 1.3, "thin": None}[mark["weight"]]
    return look | {"linewidth": _THIN if factor is None else factor * look["linewidth"]}


def _label(mark: dict[str, Any]) -> str | None:
    return mark["label"] or None


def _arrays(mark: dict[str, Any], *names: str) -> list[np.ndarray]:
    return [np.array(mark[name], dtype=float) for name in names]


def _set_up(axes: Axes, panel: dict[str, Any]) -> None:
    for side in ("x", "y"):
        told = panel[side]
        axis = getattr(axes, f"{side}axis")
        if told["log"]:
            getattr(axes, f"set_{side}scale")("log")
            axis.set_minor_locator(NullLocator())
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        if told["ticks"] is not None:
            axis.set_ticks([value for value, _ in told["ticks"]], [words for _, words in told["ticks"]])
        getattr(axes, f"set_{side}label")(told["label"])
        getattr(axes, f"set_{side}lim")(told["low"], told["high"])
    axes.set_title(panel["title"], color="black" if panel["cls"] == GUIDE else _colour(panel["cls"]), size=13)
    axes.set_autoscale_on(False)


def _paint_line(axes: Axes, mark: dict[str, Any], layer: float) -> None:
    x, y = _arrays(mark, "x", "y")
    for k, row in enumerate(y.reshape(-1, x.size)):
        axes.plot(x, row, **_line(mark), zorder=layer, label=_label(mark) if k == 0 else None)


def _paint_band(axes: Axes, mark: dict[str, Any], layer: float) -> None:
    x, low, high = _arrays(mark, "x", "low", "high")
    depth = {"thin": 0.18, "normal": 0.28, "strong": 0.45}[mark["weight"]]
    look: dict[str, Any] = {"color": _colour(mark["cls"]), "alpha": depth, "linewidth": 0, "zorder": layer}
    axes.fill_between(x, low, high, **look, label=_label(mark))


def _paint_dots(axes: Axes, mark: dict[str, Any], layer: float) -> None:
    look: dict[str, Any] = {"linestyle": "none", "marker": mark["shape"], "markersize": 0.75 * mark["size"]}
    look |= {"color": _colour(mark["cls"]), "markeredgecolor": "white", "markeredgewidth": 0.8}
    if mark["size"] < 6:
        look["markeredgewidth"] = 0.0
    if mark["shape"] == "+":
        look |= {"markeredgecolor": look["color"], "markeredgewidth": 2.6}
    axes.plot(*_arrays(mark, "x", "y"), **look, zorder=layer, label=_label(mark))


def _paint_span(axes: Axes, mark: dict[str, Any], layer: float) -> None:
    x, y, x1, y1 = _arrays(mark, "x", "y", "x1", "y1")
    ends = np.stack([x, x1, np.full_like(x, np.nan)], axis=1).ravel()
    feet = np.stack([y, y1, np.full_like(y, np.nan)], axis=1).ravel()
    axes.plot(ends, feet, **_line(mark) | {"linestyle": "-"}, zorder=layer, label=_label(mark))


def _paint_rule(axes: Axes, mark: dict[str, Any], layer: float) -> None:
    draw = axes.axvline if mark["axis"] == "x" else axes.axhline
    for k, at in enumerate(_arrays(mark, "at")[0]):
        draw(at, **_line(mark), zorder=layer, label=_label(mark) if k == 0 else None)


def _paint_text(axes: Axes, mark: dict[str, Any], layer: float) -> None:
    place: dict[str, Any] = {
        "ha": _SIDE[mark["anchor"]],
        "va": "bottom",
        "size": 11,
        "color": _colour(mark["cls"]),
        "bbox": _PAPER,
    }
    for x, y, words in zip(*_arrays(mark, "x", "y"), mark["text"], strict=True):
        if np.isfinite(x + y):
            axes.text(x, y, words, **place, zorder=layer)


def _paint_heat(axes: Axes, mark: dict[str, Any], layer: float) -> None:
    levels = np.frombuffer(b64decode(mark["z"]), dtype=np.uint8).reshape(mark["shape"])
    shade = np.empty((*levels.shape, 4))
    shade[..., :3] = to_rgba(_colour(mark["cls"]))[:3]
    shade[..., 3] = 0.9 * levels / 255
    axes.imshow(
        shade, extent=(*mark["x"], *mark["y"]), aspect="auto", origin="upper", interpolation="bilinear", zorder=layer
    )
    if mark["label"]:
        axes.fill_between([], [], color=_colour(mark["cls"]), alpha=0.8, linewidth=0, label=mark["label"])


_PAINT = {
    "line": _paint_line,
    "band": _paint_band,
    "dots": _paint_dots,
    "span": _paint_span,
    "rule": _paint_rule,
    "text": _paint_text,
    "heat": _paint_heat,
}

"""The picture that a mechanism begins with: compartments as boxes, and what flows between them as arrows."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from mefit import style

WIDTH, HEIGHT = 1.5, 0.8
_FLOW, _ACT = style.COLOUR["population"], style.COLOUR["joint"]
_SIDES = {"left": (-0.5, 0.0), "right": (0.5, 0.0), "top": (0.0, 0.5), "bottom": (0.0, -0.5)}


def _edge(place: tuple[float, float], side: str, away: float = 0.0) -> tuple[float, float]:
    """The middle of a side of the box at `place`, or a point that far away from it."""
    dx, dy = _SIDES[side]
    return place[0] + dx * (WIDTH + 2 * away), place[1] + dy * (HEIGHT + 2 * away)


def draw(
    boxes: Mapping[str, tuple[float, float]],
    flows: Sequence[tuple[str, str, str]],
    acts: Sequence[tuple[str, str, str]] = (),
    size: tuple[int, int] = (860, 250),
) -> style.Picture:
    """A picture of `boxes` (name: its middle) and `flows` (from, to, label) between them, left to right.

    A flow from "" comes in from the left, a flow to "" leaves to the right. `acts` are dashed arrows (from, to, label)
    from a box to the flow that comes into another: they carry no mass, they change its rate.
    """
    picture = style.figure(*size)
    with style.use():
        axes = picture.subplots()
        for name, (x, y) in boxes.items():
            corner, look = (x - WIDTH / 2, y - HEIGHT / 2), "round,pad=0,rounding_size=0.12"
            axes.add_patch(FancyBboxPatch(corner, WIDTH, HEIGHT, look, fc="#EAF2FA", ec=_FLOW, linewidth=2))
            axes.text(x, y, name, ha="center", va="center", fontsize=14)
        for source, target, label in flows:
            start = _edge(boxes[source], "right") if source else _edge(boxes[target], "left", 1.1)
            end = _edge(boxes[target], "left") if target else _edge(boxes[source], "right", 1.1)
            _arrow(axes, start, end, label, not source)
        for source, target, label in acts:
            x, y = _edge(boxes[target], "left", 0.3)
            x0, y0 = _edge(boxes[source], "bottom")
            axes.add_patch(
                FancyArrowPatch((x0, y0), (x, y + 0.06), arrowstyle="-|>", mutation_scale=18, color=_ACT, ls="--", lw=2)
            )
            axes.text(min(x, x0) - 0.12, (y + y0) / 2, label, ha="right", va="center", fontsize=12, color=_ACT)
        xs, ys = zip(*boxes.values(), strict=True)
        axes.set(xlim=(min(xs) - 2.4, max(xs) + 2.4), ylim=(min(ys) - 0.7, max(ys) + 0.7), aspect="equal")
        axes.axis("off")
    names = ", ".join(f"{a or 'outside'} to {b or 'outside'} ({label})" for a, b, label in flows)
    more = "".join(f"; {a} acts on what comes into {b}" for a, b, _ in acts)
    picture.alt = f"Compartments {', '.join(boxes)}, with arrows: {names}{more}.".replace("$", "")
    return picture


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], label: str, outside: bool) -> None:
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=20, color=_FLOW, lw=2.4))
    middle, up = (start[0] + end[0]) / 2, 0.12 * (-1 if outside else 1)  # above what comes in, something may act on it
    axes.text(middle, start[1] + up, label, ha="center", va="top" if outside else "bottom", fontsize=12)

"""Explorers painted by matplotlib, those that were not moved to the stage yet. A new one is a `Stage` (`stage.py`).

An explorer of this kind has a `paint` where a stage has a `scene`. Its parts can each be tested without the others:

```python
def compute(omega):                          # numbers in, numbers out; Refused with one sentence where it cannot
    eta = np.linspace(-3, 3, 400)
    return eta, np.exp(-0.5 * (eta / omega) ** 2) / (np.sqrt(2 * np.pi) * omega)

def paint(picture, result):                  # draws on an empty matplotlib figure
    picture.subplots().plot(*result, **style.LINE["prior"])

def say(result):                             # the result in words, for those who cannot see the picture
    return f"The density is {result[1].max():.2f} at its highest."

explorer = Explorer(compute, paint, say, {"omega": Slider("Prior SD", 0.05, 5, 1, unit="of eta", log=True)},
                    alt="The density of a random effect.")
explorer                                     # as the last line of a cell
explorer.set(omega=0.3)                      # moves the control as a hand would; raises what the hand would be shown
```
"""

import html
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets
import numpy as np
import traitlets

from mefit import style
from workshop.explorers.controls import Choice, Control, Controlled, Refused, Slider, Switch, sentence_of

__all__ = ["Choice", "Control", "Explorer", "Refused", "Slider", "Switch"]


class _NamedImage(ipywidgets.Image):
    """An image with a name for screen readers: its tooltip, which the browser's side sets only where it finds an empty
    description, a trait that images lack."""

    description = traitlets.Unicode("").tag(sync=True)


class Explorer(Controlled):
    """A small interactive picture, and the same picture at rest where no kernel runs.

    **Arguments**

    - `compute(**values) -> result`: pure. What it refuses by `Refused` is shown as a sentence in the error line;
      anything else is a fault of the kit, shown as such and raised.
    - `paint(picture, result)`: draws on an empty `style.Picture`. It may return a function `update(result)` that moves
      the artists it made: then later moves call that, on the same artists, instead of painting anew.
    - `say(result) -> str`: one or two sentences.
    - `controls`: name to `Slider`, `Choice` or `Switch`; the names are those of `compute`'s arguments.
    - `alt`: what the picture is a picture of, for those who do not see it; `say` tells them what it shows.
    - `width`, `height`: of the picture in pixels. It never changes size, so the page never jumps.
    - `live`: False where a move takes long: then the slider answers when it is let go, not on the way. (While a kernel
      is busy the browser keeps only the newest position of a slider, so moves do not queue in either case.)

    After each move `values`, `result`, `text`, `png` (bytes) and `seconds` (compute, paint and encode) describe it.
    """

    def __init__(
        self,
        compute: Callable[..., Any],
        paint: Callable[[style.Picture, Any], Callable[[Any], None] | None],
        say: Callable[[Any], str],
        controls: Mapping[str, Control],
        *,
        alt: str,
        width: int = 760,
        height: int = 420,
        live: bool = True,
    ):
        super().__init__(compute, say, controls, alt)
        self.png, self.seconds = b"", {"compute": 0.0, "paint": 0.0, "encode": 0.0}
        self._paint = paint
        self._picture = style.figure(width, height, layout=None)
        self._update: Callable[[Any], None] | None = None
        self._moving = False
        # The widgets that show one value (a slider, its box, its play button) and what each shows for it.
        self._parts: dict[str, list[tuple[Any, Callable[[Any], Any]]]] = {}

        fixed = {"width": f"{width}px", "max_width": "100%"}
        self._image = _NamedImage(
            format="png", tooltip=alt, layout={**fixed, "height": f"{height}px", "object_fit": "contain"}
        )
        # Room for two lines and one line is kept from the start: a sentence that wraps must not move the page.
        self._says = ipywidgets.HTML(layout={**fixed, "min_height": "50px"})
        self._error = ipywidgets.HTML(layout={**fixed, "min_height": "26px"})
        reset = ipywidgets.Button(description="Reset", layout={"width": "80px"})
        reset.on_click(lambda _: self.reset())
        rows = [self._row(name, control, live) for name, control in self.controls.items()]
        rows[:1] = [ipywidgets.HBox([*rows[:1], reset])]
        self.view = ipywidgets.VBox([*rows, self._image, self._says, self._error])
        self.view.add_class("mefit-explorer")
        self._redraw()

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The living view, and at rest: a picture with its sentence for a page, a bare picture, bare text."""
        picture, text, alt = b64encode(self.png).decode(), html.escape(self.text), html.escape(self.alt)
        size = {"width": round(self._picture.bbox.width), "height": round(self._picture.bbox.height)}
        fits = f'width="{size["width"]}" style="max-width:100%"'
        page = f'<img alt="{alt}" {fits} src="data:image/png;base64,{picture}"><p>{text}</p>'
        still = {"text/html": page, "image/png": picture, "text/plain": self.text}
        living = self.view._repr_mimebundle_() or {}
        return {**living, **still}, {"image/png": size | {"alt": self.alt}}

    # A move

    def _moved(self, name: str, value: Any, source: Any) -> None:
        if not self._moving:
            self._values[name] = value
            self._show_value(name, source)
            self._redraw(by_hand=True)

    def _show_value(self, name: str, source: Any = None) -> None:
        """Put the value into every widget that shows it, except the one it came from: a hand is on that."""
        self._moving = True
        try:
            for part, shown in self._parts[name]:
                if part is not source:
                    part.value = shown(self._values[name])
        finally:
            self._moving = False

    def _redraw(self, by_hand: bool = False) -> None:
        clock = [time.perf_counter()]
        try:
            self.result = self._compute(**self._values)
            clock.append(time.perf_counter())
            self.text = self._say(self.result)
            with style.use():
                if self._update is None:
                    self._picture.clear()
                    self._update = self._paint(self._picture, self.result)
                else:
                    self._update(self.result)
                clock.append(time.perf_counter())
                _keep_axes(self._picture)
                self.png = style.png(self._picture)
            clock.append(time.perf_counter())
        except Exception as failure:
            # Said on the page too: what a callback raises in answer to a browser goes to a log that no learner opens.
            refused = isinstance(failure, Refused) and len(clock) == 1
            self._show_error(sentence_of(failure, refused))
            if not refused:
                self._update = None  # its artists may be half moved
            if not (refused and by_hand):
                raise
            return
        self.seconds = dict(zip(self.seconds, (b - a for a, b in zip(clock, clock[1:], strict=False)), strict=True))
        self._show_error("")
        self._says.value = f'{_AT_REST}<div aria-live="polite" style="{_PROSE}">{html.escape(self.text)}</div>'
        self._image.value = self.png

    def _show_error(self, sentence: str) -> None:
        colour = f"color:{style.COLOUR['joint']};font-weight:bold;"
        shown = f'<div role="alert" style="{_PROSE}{colour}">&#9888; {html.escape(sentence)}</div>' if sentence else ""
        self._error.value = shown

    # Controls as widgets

    def _join(self, name: str, part: Any, *, meaning: Callable[[Any], Any], shown: Callable[[Any], Any]) -> Any:
        """Tie a widget to a value: `meaning` of what it shows is the value, `shown` of the value is what it shows."""
        self._parts.setdefault(name, []).append((part, shown))
        part.observe(lambda change: self._moved(name, meaning(change["new"]), part), names="value")
        return part

    def _row(self, name: str, control: Control, live: bool) -> Any:
        if isinstance(control, Slider):
            return self._slider_row(name, control, live)
        wide = _LABEL["description_width"]
        if isinstance(control, Switch):
            before, after = ipywidgets.Label(layout={"width": wide}), {"description": control.label, "indent": False}
            part: Any = ipywidgets.Checkbox(value=control.value, **after)
        else:
            before = ipywidgets.Label(
                control.label, layout={"width": wide, "display": "flex", "justify_content": "flex-end"}
            )
            # Buttons, however many: in a menu JupyterLab would take the arrow keys to move between cells.
            part = ipywidgets.ToggleButtons(options=control.options, value=control.value)
            part.style.button_width = "auto"
            part.tooltips = [f"{control.label}: {option}" for option in control.options]
        return ipywidgets.HBox([before, self._join(name, part, meaning=_same, shown=_same)])

    def _slider_row(self, name: str, control: Slider, live: bool) -> Any:
        # The box carries the label, because only there does the browser tie label and control together by name.
        label = f"{control.label} ({control.unit})" if control.unit else control.label
        kind = ipywidgets.BoundedIntText if control.whole else ipywidgets.BoundedFloatText
        number: dict[str, Any] = {"min": control.low, "max": control.high, "value": control.value}
        if not control.log:
            number["step"] = control.stride
        box: Any = kind(**number, description=label, style=_LABEL, layout={"width": "345px"})
        # The slider counts steps. One that held the value itself would round what was typed into the box: the browser
        # moves its handle to the nearest step and reports that as if a hand had moved it.
        steps: dict[str, Any] = {"min": 0, "max": control.index(control.high), "value": control.index(control.value)}
        slider = ipywidgets.IntSlider(
            **steps, readout=False, continuous_update=live, layout={"width": "250px", "flex": "0 0 auto"}
        )
        row = [
            self._join(name, box, meaning=_same, shown=_same),
            self._join(name, slider, meaning=control.at, shown=control.index),
        ]
        if control.play:
            play = ipywidgets.Play(**steps, interval=250)
            row.append(self._join(name, play, meaning=control.at, shown=control.index))
        return ipywidgets.HBox(row)


def _same(value: Any) -> Any:
    return value


def _keep_axes(picture: style.Picture) -> None:
    """Draw every axis by way of a small picture of its own, kept until its ticks change.

    Half of the time of a move went into ticks and labels, which seldom do.
    """
    for axes in picture.axes:
        for axis in axes._axis_map.values() if axes.axison else ():
            if not isinstance(axis.__dict__.get("draw"), _KeptAxis):
                axis.draw = _KeptAxis(axis)  # type: ignore[method-assign]


class _KeptAxis:
    """`axis.draw`, which renders only where what it draws is not what it drew last."""

    def __init__(self, axis: Any):
        self.axis, self.draw, self.place = axis, axis.draw, (0, 0)
        self.key: Any = None
        self.pixels: np.ndarray | None = None

    def __call__(self, renderer: Any) -> None:
        axis = self.axis
        if not axis.get_visible():
            return
        ticks = axis.get_majorticklocs()
        told = (tuple(axis.get_major_formatter().format_ticks(ticks)), axis.label.get_text(), axis.label.get_color())
        minor = tuple(axis.get_minorticklocs())
        key = (tuple(ticks), minor, *axis.get_view_interval(), *axis.axes.bbox.bounds, axis.get_scale(), *told)
        if key != self.key:
            width, height = (int(size) for size in (renderer.width, renderer.height))
            apart = type(renderer)(width, height, renderer.dpi)
            self.draw(apart)
            all_ = np.asarray(apart.buffer_rgba())
            rows, columns = (np.flatnonzero(all_[..., 3].any(axis=k)) for k in (1, 0))
            self.key, self.pixels = key, None
            if rows.size:
                top, left = rows[0], columns[0]
                self.pixels = np.flipud(all_[top : rows[-1] + 1, left : columns[-1] + 1]).copy()
                self.place = (left, height - rows[-1] - 1)
        if self.pixels is not None:
            renderer.draw_image(renderer.new_gc(), *self.place, self.pixels)
        axis.stale = False


_LABEL = {"description_width": "240px"}
# In a notebook that is opened again, until the cell is run: a sentence in place of a broken chain on each control.
_AT_REST = """<style>
.mefit-explorer .jupyter-widgets-disconnected::before { content: none; }
.mefit-explorer.jupyter-widgets-disconnected::before {
  content: "At rest. Run this cell to bring it to life."; font: italic 15px/1.5 sans-serif; color: inherit;
}
</style>"""
_PROSE = "font-size:15px;line-height:1.5;"

"""What a lesson's kernel does while the site runs it: explorers are recorded, and predictions can be opened by a click.

`begin(folder)` makes every explorer that a cell shows write its states for a grid of values into the folder, as a
script, `play.js` and `stage.js` can play without a kernel. The page gets the picture at rest, and the script's name.
"""

import gzip
import hashlib
import html
import json
import time
from base64 import b64encode
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from workshop.explorers.controls import Choice as Options
from workshop.explorers.controls import Control, Slider, Switch
from workshop.explorers.stage import Stage, control_data
from workshop.predictions.asked import Asked
from workshop.predictions.questions import Choice, Crosses, Curve, Number
from workshop.predictions.review import Review
from workshop.room import questions as paper

STATES = 1500  # at most, for one explorer
SECONDS = 8.0  # of the processor, for computing them
LETTERS = 6e6  # of their text, before it is packed
COUNTS = (3, 5, 7, 9, 11, 13, 17, 21, 26, 34, 51, 101)  # places on a slider, from coarse to its own
ENOUGH = 9  # places on every slider that a mark moves, before the others get their third
FEW = 3  # values of every slider, without which a recording is not worth a click
UNRECORDED = "This explorer could not be recorded"


def begin(folder: str) -> None:
    """From now on explorers and predictions are shown as a page without a kernel needs them."""
    place = Path(folder)
    Stage._repr_mimebundle_ = lambda stage, **_: (shown(stage, place), {})  # type: ignore[method-assign]
    Asked._repr_mimebundle_ = lambda asked, **_: ({"text/html": asked_page(asked)}, {})  # type: ignore[method-assign]
    Review._repr_html_ = lambda _: "<p><i>Predictions are kept and counted in JupyterLab.</i></p>"  # type: ignore


# Explorers


def shown(stage: Stage, folder: Path) -> dict[str, str]:
    """The picture at rest with its sentence, in a place that a recording brings to life if one could be made."""
    name = name_of(stage)
    recording, why = record(stage, name, folder)
    picture = b64encode(stage.png).decode()
    size = f'width="{stage._size[0]}" height="{stage._size[1]}"'
    at_rest = f'<img alt="{html.escape(stage.alt)}" {size} src="data:image/png;base64,{picture}">'
    at_rest += f"<p>{html.escape(stage.text)}</p>"
    note = f'<p class="mefit-note">{html.escape(why)}</p>' if why else ""
    start = html.escape(json.dumps(stage.values), quote=True)
    marks = f'data-name="{name}" data-recording="{recording}" data-start="{start}"'
    return {"text/html": f'<div class="mefit-play" {marks}>{at_rest}</div>{note}', "text/plain": stage.text}


def name_of(stage: Stage) -> str:
    """The name of the file that made it."""
    scene = getattr(stage._scene, "func", stage._scene)
    return scene.__module__.rpartition(".")[2]


def record(stage: Stage, name: str, folder: Path) -> tuple[str, str]:
    """The name of the script with the states, empty where there is none; and a sentence on what it leaves out."""
    try:
        grid = grid_of(stage)
        frames = stage.frames(**grid)
    except TooLarge as reason:
        return "", f"{reason} Open this lesson in JupyterLab to move it."
    except Exception as fault:  # a lesson is not lost for it; the build names it, and ends with an error
        return "", f"{UNRECORDED}: {type(fault).__name__}: {fault}"
    moving = {key for key, values in grid.items() if len(values) > 1}
    frames = {**frames, "marks": [shortened(mark, moving) for mark in frames["marks"]]}
    setup = {**stage.view.setup, "controls": [list(pair) for pair in played(stage, grid)]}
    held = [control.label for key, control in stage.controls.items() if len(grid[key]) == 1]
    here = [all(value in grid[key] for key, value in values.items()) for _, values in setup["tries"]]
    setup["tries"] = [pair for pair, known in zip(setup["tries"], here, strict=True) if known]
    text = json.dumps({"setup": setup, "frames": frames}, separators=(",", ":"), ensure_ascii=False)
    packed = b64encode(gzip.compress(text.encode(), mtime=0)).decode()
    key = f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{key}.js").write_text(f'mefitPlay.receive("{key}","{packed}");\n', encoding="utf-8")
    words = ", ".join(f"“{label}”" for label in held)
    note = f"Held still on this page: {words}. In JupyterLab everything moves, and by finer steps." if held else ""
    return key, note


def played(stage: Stage, grid: dict[str, list[Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The controls as the browser gets them: sliders know the values that were computed, and take no others."""
    for name, control in stage.controls.items():
        told = control_data(control)
        if isinstance(control, Slider):
            told["grid"] = grid[name]
        if len(grid[name]) > 1:
            yield name, told


class TooLarge(Exception):
    """Why an explorer has no recording, in a sentence."""


def grid_of(stage: Stage) -> dict[str, list[Any]]:
    """The values of each control that are computed: as many as the seconds, the states and the letters allow.

    Values that the explorer starts at are always among them, and, where there is room, those of its moves to try.
    Sliders that a mark moves come first, one place after the other. Where there is no room for `FEW` values of these,
    switches, then choices, then these sliders but one are held as they are; TooLarge where that is not enough.
    """
    seconds, letters = cost(stage)
    most = min(STATES, SECONDS / seconds, LETTERS / letters)
    grid = {name: wanted(stage, name, control) for name, control in stage.controls.items()}
    sliders = [name for name, control in stage.controls.items() if isinstance(control, Slider)]
    dragged = {drag[side] for mark in stage._drawn["marks"] for drag in mark["drag"] for side in ("x", "y")}
    first = [name for name in sliders if name in dragged] or sliders[:1]
    if prod(map(len, grid.values())) > most:
        grid |= {name: [stage.values[name]] for name in sliders}
    for name in [*of_kind(stage, Switch), *reversed(of_kind(stage, Options)), *reversed(first[1:])]:
        if least(grid, first) <= most:
            break
        grid[name] = [stage.values[name]]
        first = [other for other in first if other != name]
    if least(grid, first) > most:
        raise TooLarge(f"Each state of this explorer takes {seconds:.1g} s, too long for a page without Python.")
    rest = [name for name in sliders if name not in first]
    for names, enough in ((first, ENOUGH), (rest, FEW), (first, COUNTS[-1]), (rest, COUNTS[-1])):
        grow(stage, grid, names, enough, most)
    return grid


def of_kind(stage: Stage, kind: type[Control]) -> list[str]:
    """The names of the controls of a kind, in their order."""
    return [name for name, control in stage.controls.items() if isinstance(control, kind)]


def least(grid: dict[str, list[Any]], first: list[str]) -> int:
    """How many states there are at least, once every slider of `first` has its `FEW` places beside its own."""
    return prod(max(len(values), FEW + 1 if name in first else 1) for name, values in grid.items())


def grow(stage: Stage, grid: dict[str, list[Any]], names: list[str], enough: int, most: float) -> None:
    """Give the sliders of these names more places in turn, up to `enough`, while no more than `most` states result."""
    for count in [count for count in COUNTS if count <= enough]:
        for name in names:
            values = places(stage, name, count)
            trial = sorted({*values, *grid[name]})
            if prod(map(len, {**grid, name: trial}.values())) <= most:
                fixed = {stage.values[name]} | {v for v in tried(stage, name) if v in grid[name]}
                grid[name] = sorted({*values, *fixed})


def places(stage: Stage, name: str, count: int) -> list[Any]:
    """So many values of a slider, evenly spread over its steps."""
    slider = stage.controls[name]
    assert isinstance(slider, Slider)
    last = slider.index(slider.high)
    indices = sorted({round(k) for k in np.linspace(0, last, min(count, last + 1))})
    return [slider.check(slider.at(k)) for k in indices]


def tried(stage: Stage, name: str) -> list[Any]:
    """The values of a control that its moves to try go to."""
    return [stage.controls[name].check(values[name]) for _, values in stage.view.setup["tries"] if name in values]


def wanted(stage: Stage, name: str, control: Control) -> list[Any]:
    """The values of a control that a recording has in any case."""
    if not isinstance(control, Slider):
        told = control_data(control)
        return list(told["options"]) if told["kind"] == "choice" else [False, True]
    return sorted({stage.values[name], *tried(stage, name)})


def cost(stage: Stage) -> tuple[float, float]:
    """Seconds and letters of a state, the mean of a few that are not the first: that one may compile."""
    ends: dict[str, Any] = {}
    for name, control in stage.controls.items():
        ends[name] = [control.value, control.low] if isinstance(control, Slider) else [control.value]
    took, sizes = [], []
    for name in list(ends)[:3]:
        began = time.process_time()
        state = stage.frames(**{name: ends[name][-1:]})
        took.append(time.process_time() - began)
        sizes.append(len(json.dumps(state["marks"])))
    return max(float(np.median(took)), 1e-4), max(float(np.mean(sizes)), 1.0)


def shortened(mark: dict[str, Any], moving: set[str]) -> dict[str, Any]:
    """A mark with its numbers at four digits, which no screen tells from five, and handles for what moves here only."""
    short: dict[str, Any] = {}
    for name, values in mark.items():
        short[name] = [_four(value) for value in values] if isinstance(values, list) and name != "drag" else values
    kept = [{**drag, **{side: drag[side] if drag[side] in moving else None for side in "xy"}} for drag in mark["drag"]]
    return short | {"drag": [drag for drag in kept if drag["x"] or drag["y"]]}


def _four(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value


# Predictions


def asked_page(asked: Asked) -> str:
    """The question, its answers to choose from, and what is so behind a click."""
    question = asked.question
    place = f"{asked.lesson}-{asked.name}"
    parts = [f"<p><b>Your prediction.</b> {html.escape(question.asks)}</p>"]
    told = ""
    if isinstance(question, Choice):
        buttons = "".join(
            f'<button type="button" data-right="{str(option == question.truth).lower()}">{html.escape(option)}</button>'
            for option in question.options
        )
        parts.append(f'<p class="options">{buttons}</p>')
        told = html.escape(question.truth)
    elif isinstance(question, Number):
        told = html.escape(question._words(question.truth))
    elif isinstance(question, Crosses):
        parts.append(crosses(question, revealed=False))
        told = crosses(question)
    elif isinstance(question, Curve):
        parts.append(
            f"{paper.picture(question, revealed=False)}<p>Here on a sheet of paper; in JupyterLab by hand.</p>"
        )
        told = paper.picture(question, revealed=True)
    then = f" {html.escape(question.then)}" if question.then else ""
    answer = f"<details><summary>Make up your mind, then open</summary><div>{told}{then}</div></details>"
    return f'<div class="mefit-asked" data-place="{place}">{"".join(parts)}{answer}</div>'


def crosses(question: Crosses, revealed: bool = True) -> str:
    """The table with its true crosses, or with boxes to tick."""
    head = "".join(f"<th>{html.escape(column)}</th>" for column in ("", *question.columns))
    if revealed:
        signs = [["✕" if box else "" for box in row] for row in question.details()]
    else:
        signs = [[_box(name, column) for column in question.columns] for name in question.rows]
    rows = [
        f"<tr><th>{html.escape(name)}</th>{''.join(f'<td>{sign}</td>' for sign in row)}</tr>"
        for name, row in zip(question.rows, signs, strict=True)
    ]
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _box(row: str, column: str) -> str:
    """A box to tick, with a name for those who hear the page."""
    return f'<input type="checkbox" aria-label="{html.escape(row)}: {html.escape(column)}">'

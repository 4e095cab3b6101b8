"""The predictions of the lessons, on paper and as polls: what is asked, room for an answer, and the answers apart."""

import html
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import pandas as pd

from mefit import style
from workshop.explorers.still import still
from workshop.predictions.questions import PANEL, Choice, Crosses, Curve, Number, Question

Questions = Mapping[str, Mapping[str, Question]]  # by lesson and name
_SIZE = (760, 340)  # of a picture, in pixels
_LETTERS = "ABCDEFGHIJ"
_LOOK = """
body { max-width: 46em; margin: 2em auto; padding: 0 1em; font: 16px/1.45 system-ui, sans-serif; color: #1a1a1a; }
h1 { font-size: 1.5em; } h2 { font-size: 1.2em; margin-top: 0; }
section { break-before: page; padding-top: 1em; } article { break-inside: avoid; margin: 1.6em 0; }
ol.options { list-style: upper-alpha; } .blank { display: inline-block; width: 9em; border-bottom: 1px solid #333; }
table { border-collapse: collapse; } td, th { border: 1px solid #777; padding: 3px 9px; text-align: center; }
th:first-child { text-align: left; } img { max-width: 100%; } .answer { font-weight: 600; }
"""


def sheet(questions: Questions, titles: Mapping[str, str]) -> str:
    """A page to print, a sheet of paper per lesson, with room for the answers and none of them given."""
    return _page("Predictions", "Answer before you look.", questions, titles, _asked)


def answers(questions: Questions, titles: Mapping[str, str]) -> str:
    """The same page with the answers."""
    return _page("Predictions, with the answers", "For the teacher.", questions, titles, _answered)


def polls(questions: Questions) -> pd.DataFrame:
    """The questions that a room can vote on, a row each: lesson, question, options A to the last, the right letter."""
    rows = []
    for lesson, asked in questions.items():
        for question in asked.values():
            if isinstance(question, Choice):
                options = dict(zip(_LETTERS, question.options, strict=False))
                right = _LETTERS[list(question.options).index(question.truth)]
                rows.append({"lesson": lesson, "question": question.asks, **options, "right": right})
    table = pd.DataFrame(rows)
    letters = sorted(name for name in table if len(name) == 1)
    return table[["lesson", "question", *letters, "right"]].fillna("")


def _page(
    title: str,
    first: str,
    questions: Questions,
    titles: Mapping[str, str],
    one: Callable[[Question], str],
) -> str:
    lessons = "".join(
        f"<section><h2>{html.escape(titles[lesson])}</h2>{_numbered(map(one, asked.values()))}</section>"
        for lesson, asked in questions.items()
        if asked
    )
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{_LOOK}</style>'
    body = f"<h1>{title}</h1><p>{first}</p>{lessons}"
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{body}</body></html>\n'


def _numbered(parts: Iterable[str]) -> str:
    return "".join(f"<article>{number}. {part}</article>" for number, part in enumerate(parts, 1))


def _asked(question: Question) -> str:
    """A question with room for its answer."""
    asks = html.escape(question.asks)
    if isinstance(question, Choice):
        return f"{asks}{_options(question)}"
    if isinstance(question, Number):
        return f'{asks}<p><span class="blank">&nbsp;</span> {html.escape(question.unit)}</p>'
    if isinstance(question, Crosses):
        return f"{asks}{_boxes(question, [['' for _ in question.columns] for _ in question.rows])}"
    return f"{asks}<p>{picture(question, revealed=False)}</p>"


def _answered(question: Question) -> str:
    """A question with its answer."""
    asks, then = html.escape(question.asks), f"<p>{html.escape(question.then)}</p>" if question.then else ""
    if isinstance(question, Choice):
        return f'{asks}{_options(question)}<p class="answer">{html.escape(question.truth)}</p>{then}'
    if isinstance(question, Number):
        return f'{asks}<p class="answer">{html.escape(question.judge(question.truth).truth)}</p>{then}'
    if isinstance(question, Crosses):
        return f"{asks}{_boxes(question, [['×' if box else '' for box in row] for row in question.details()])}{then}"
    return f"{asks}<p>{picture(question, revealed=True)}</p>{then}"


def _options(question: Choice) -> str:
    return f'<ol class="options">{"".join(f"<li>{html.escape(option)}</li>" for option in question.options)}</ol>'


def _boxes(question: Crosses, filled: list[list[str]]) -> str:
    head = "".join(f"<th>{html.escape(column)}</th>" for column in ("", *question.columns))
    rows = zip(question.rows, filled, strict=True)
    body = "".join(
        f"<tr><th>{html.escape(row)}</th>{''.join(f'<td>{box}</td>' for box in boxes)}</tr>" for row, boxes in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def picture(question: Question, revealed: bool) -> str:
    """Axes to draw on, or with the true curves, as an image for a page."""
    assert isinstance(question, Curve), f"{type(question).__name__} has no place on a sheet of paper"
    scene = question.scene(question.nothing(), revealed)
    on_paper = replace(scene, marks=[mark for mark in scene.marks if not mark.name.startswith("you ")])
    drawn = still(on_paper.data([]), [PANEL], [1], [1], _SIZE, question.asks)
    source = f"data:image/png;base64,{b64encode(style.png(drawn)).decode()}"
    return f'<img alt="{html.escape(question.asks)}" width="{_SIZE[0]}" src="{source}">'

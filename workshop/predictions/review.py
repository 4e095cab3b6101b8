"""The end of a lesson: in how many predictions one was right, and the list."""

import html
from collections.abc import Mapping
from typing import Any

from workshop.predictions.questions import Question

_SIGN = {True: "\u2713", False: "\u2717", None: "\u25cb"}


class Review:
    """The predictions of a lesson, as the last line of a cell."""

    def __init__(self, questions: Mapping[str, Question], answers: Mapping[str, Any]):
        self.rows: list[tuple[bool | None, str, str, str]] = []
        for name, question in questions.items():
            if name in answers:
                verdict = question.judge(question.read(answers[name]))
                self.rows.append((verdict.right, question.asks, verdict.said, verdict.truth))
            else:
                self.rows.append((None, question.asks, "still open", ""))

    @property
    def text(self) -> str:
        """One sentence."""
        revealed = [right for right, *_ in self.rows if right is not None]
        still_open = len(self.rows) - len(revealed)
        if not revealed:
            return f"Your {len(self.rows)} predictions are all still open: answer one above, and press Reveal."
        told = f"You were right in {sum(revealed)} of {len(revealed)}."
        return told if not still_open else f"{told} Still open: {still_open}."

    def __repr__(self) -> str:
        lines = [f"{_SIGN[right]} {asks} {said}" for right, asks, said, _ in self.rows]
        return "\n".join([self.text, *lines])

    def _repr_html_(self) -> str:
        cells = [[_SIGN[right], *words] for right, *words in self.rows]
        body = "".join("<tr>" + "".join(f"<td>{_left(cell)}</td>" for cell in row) + "</tr>" for row in cells)
        titles = ("", "you were asked", "you said", "it is")
        head = "<tr>" + "".join(f"<th>{_left(title)}</th>" for title in titles) + "</tr>"
        return f"<p><b>{html.escape(self.text)}</b></p><table><thead>{head}</thead><tbody>{body}</tbody></table>"


def _left(words: str) -> str:
    return f'<div style="text-align:left">{html.escape(words)}</div>'

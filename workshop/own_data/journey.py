"""The check-list: nine steps, what each showed of the learner's own data, and what the learner says of it."""

import html
from dataclasses import dataclass
from typing import Any

from workshop.own_data import shown

STEPS = {
    "read": "Read the file",
    "look": "Look at the data",
    "first model": "Fit a first model",
    "what is wrong": "Find what is wrong with it",
    "better model": "Mend that, and compare",
    "covariates": "Ask what covariates explain",
    "how sure": "Say how sure you are",
    "decision": "Answer the question that you came with",
    "report": "Write the report",
}
_DONE, _UNSAID, _OPEN = "\u2713", "\u25d0", "\u25cb"


@dataclass(frozen=True)
class Step:
    """What a step showed, a line for each fact, and the learner's own sentence."""

    facts: tuple[str, ...]
    says: str


class Journey:
    """Nine steps from a file to a report; `journey(step, what, "what it showed, in your words")` takes one.

    A step is done when there is something to show *and* a sentence about it. The order is the learner's: who goes back
    to an earlier step writes it anew.
    """

    def __init__(self) -> None:
        self._taken: dict[str, Step] = {}

    def __call__(self, step: str, what: Any, says: str = "") -> "Taken":
        """Take a step; it is shown as the last line of a cell.

        ValueError for a step that is not one of the nine, or for a thing that does not belong to it.
        """
        if step not in STEPS:
            raise ValueError(f"There is no step {step!r}: choose from {', '.join(map(repr, STEPS))}.")
        self._taken[step] = Step(tuple(shown.SHOWN[step](what)), says.strip())
        return Taken(self, step)

    def steps(self) -> dict[str, Step | None]:
        """Each of the nine by name; None for one that was not taken."""
        return {name: self._taken.get(name) for name in STEPS}

    @property
    def open(self) -> list[str]:
        """The steps that are not done."""
        return [name for name, step in self.steps().items() if step is None or not step.says]

    @property
    def verdict(self) -> str:
        """How many steps are done, and which is next."""
        if not self.open:
            return "All nine steps are done."
        return f"{len(STEPS) - len(self.open)} of {len(STEPS)} steps are done. Next: {STEPS[self.open[0]].lower()}."

    def __repr__(self) -> str:
        return _as_text(self.steps(), self.verdict)

    def _repr_html_(self) -> str:
        return _as_table(self.steps(), self.verdict)


@dataclass(frozen=True)
class Taken:
    """One step that was just taken, and how far the journey has come."""

    journey: Journey
    name: str

    def _only(self) -> dict[str, Step | None]:
        return {self.name: self.journey.steps()[self.name]}

    def __repr__(self) -> str:
        return _as_text(self._only(), self.journey.verdict)

    def _repr_html_(self) -> str:
        return _as_table(self._only(), self.journey.verdict)


def _as_text(steps: dict[str, Step | None], verdict: str) -> str:
    lines = []
    for name, step in steps.items():
        lines.append(f"{_sign(step)} {STEPS[name]}")
        if step is not None:
            lines += [f"    {fact}" for fact in step.facts]
            lines.append(f"    You: {step.says or '... and what does that say? Add a sentence.'}")
    return "\n".join([*lines, verdict])


def _as_table(steps: dict[str, Step | None], verdict: str) -> str:
    rows = []
    for name, step in steps.items():
        facts = "" if step is None else "<br>".join(map(html.escape, step.facts))
        says = "" if step is None else html.escape(step.says) or "<i>Add a sentence: what does that say?</i>"
        cells = (_sign(step), f"<b>{STEPS[name]}</b>", facts, says)
        rows.append("<tr>" + "".join(f'<td style="text-align:left">{cell}</td>' for cell in cells) + "</tr>")
    head = "".join(f'<th style="text-align:left">{title}</th>' for title in ("", "step", "it showed", "you say"))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table><p>{verdict}</p>"


def _sign(step: Step | None) -> str:
    if step is None:
        return _OPEN
    return _DONE if step.says else _UNSAID

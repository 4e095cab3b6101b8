"""What a learner reads: the verdict on one answer, and how far a lesson, or all of them, are done."""

import html
from dataclasses import dataclass

OPEN, WRONG, DONE = "open", "wrong", "done"
_SIGN = {OPEN: "\u25cb", WRONG: "\u2717", DONE: "\u2713"}  # told apart by shape, not by colour alone
_COLOUR = {  # those of JupyterLab's theme, light or dark, where there is one
    OPEN: "var(--jp-ui-font-color2, #555555)",
    WRONG: "var(--jp-warn-color0, #a34700)",
    DONE: "var(--jp-success-color0, #00664b)",
}


@dataclass(frozen=True)
class Verdict:
    """What a check found. True in a condition where the exercise is done; shown as one line in a notebook."""

    number: str
    title: str
    state: str
    reason: str
    hint: int | None = None
    tally: str = ""
    case: str = ""

    def __bool__(self) -> bool:
        return self.state == DONE

    @property
    def text(self) -> str:
        """The line in plain words."""
        return " ".join(filter(None, (self.headline, *self._rest)))

    @property
    def headline(self) -> str:
        """The sign, the exercise and one word or two."""
        word = {OPEN: "still open", WRONG: "not yet", DONE: "right"}[self.state]
        if self.title.endswith("?"):
            return f"{_SIGN[self.state]} {self.number} {self.title} {word.capitalize()}."
        return f"{_SIGN[self.state]} {self.number} {self.title}: {word}."

    @property
    def _rest(self) -> tuple[str, str, str, str]:
        helps = f"Hint {self.hint} below may help." if self.hint else ""
        return self.reason, self.case, helps, self.tally

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        colour = _COLOUR[self.state]
        style = f"border-left: 6px solid {colour}; padding: 6px 12px; max-width: 760px; line-height: 1.5;"
        head = f'<b style="color: {colour}; font-size: 118%;">{html.escape(self.headline)}</b>'
        rest = " ".join(html.escape(part) for part in self._rest if part)
        return f'<div role="status" style="{style}">{head}<br>{rest}</div>'


@dataclass(frozen=True)
class Progress:
    """The exercises of a lesson on one line."""

    lesson: str
    states: dict[str, str]

    @property
    def finished(self) -> bool:
        """Is every exercise done?"""
        return all(state == DONE for state in self.states.values())

    @property
    def done(self) -> int:
        """How many are done."""
        return sum(state == DONE for state in self.states.values())

    def __repr__(self) -> str:
        done = self.done
        line = "  ".join(f"{_SIGN[state]} {number}" for number, state in self.states.items())
        return f"Lesson {self.lesson}: {done} of {len(self.states)} done   {line}"

    def _repr_html_(self) -> str:
        return f'<div role="status">{html.escape(repr(self))}</div>'


@dataclass(frozen=True)
class Overview:
    """The exercises of every lesson, a line for each."""

    lessons: tuple[Progress, ...]

    @property
    def finished(self) -> bool:
        """Is every exercise of every lesson done?"""
        return all(lesson.finished for lesson in self.lessons)

    def __repr__(self) -> str:
        return "\n".join(map(repr, self.lessons))

    def _repr_html_(self) -> str:
        return f'<pre role="status">{html.escape(repr(self))}</pre>'

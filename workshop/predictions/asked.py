"""A prediction on the page: a question that is answered, locked by *Reveal*, and laid over what is so.

`prediction.js` draws it with the panels of `stage.js`. Python knows the truth and sends it after *Reveal* only, so it
is nowhere in an open page.
"""

import html
from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from mefit import style
from workshop import explorers
from workshop.explorers.stage import View, look
from workshop.explorers.still import still
from workshop.predictions.kept import Kept
from workshop.predictions.questions import PANEL, Question, Verdict

_HERE = Path(__file__).parent
_SIZE = {"curve": (760, 340), "number": (760, 110)}


@cache
def _script() -> str:
    """All of the stage's script but its last word, so that axes and marks are drawn by the same lines; then our own."""
    stage = Path(explorers.__file__).with_name("stage.js").read_text(encoding="utf-8")
    shared, found, _ = stage.partition("export default")
    if not found:
        raise ValueError("stage.js has no 'export default' any more: asked.py has to share it in another way.")
    return shared + (_HERE / "prediction.js").read_text(encoding="utf-8")


class _AskedView(View):
    _esm = _script()
    _css = look() + (_HERE / "prediction.css").read_text(encoding="utf-8")


class Asked:
    """One question of a lesson, as the last line of a cell.

    `give` and `reveal` do in code what a hand does. An answer can be changed until it is revealed, and never after.
    """

    def __init__(self, lesson: str, name: str, question: Question, kept: Kept):
        self.lesson, self.name, self.question = lesson, name, question
        self._kept = kept
        self.given = question.nothing()
        self.revealed = False
        self._error = ""
        self._refused = 0
        before = kept.of(lesson).get(name)
        if before is not None:
            self.given = question.read(before)
            self.revealed = True
        setup = question.setup() | {"lesson": lesson, "name": name}
        self.view = _AskedView(setup, self._heard)
        self._show()

    @property
    def verdict(self) -> Verdict | None:
        """None while it is open."""
        return self.question.judge(self.given) if self.revealed else None

    @property
    def text(self) -> str:
        """What the page says below the question."""
        verdict = self.verdict
        if verdict is None:
            return ""
        mark = "\u2713 Right." if verdict.right else "\u2717 Not so."
        return f"{mark} {self.question.told(verdict)} {self.question.then}".strip()

    def give(self, given: Any) -> None:
        """Answer, or change the answer, while it is open."""
        if not self.revealed:
            self.given = given
            self._error = ""

    def reveal(self) -> None:
        """Lock the answer, keep it, and show what is so; ValueError in a sentence where there is no whole answer."""
        if self.revealed:
            return
        self.given = self.question.read(self.given)
        self.revealed = True
        self._kept.keep(self.lesson, self.name, self.given)
        self._show()

    def _heard(self, message: Mapping[str, Any]) -> None:
        if message.get("kind") in ("give", "reveal"):
            self.give(message["value"])
        if message.get("kind") == "reveal":
            try:
                self.reveal()
            except ValueError as refusal:
                self._error = str(refusal)
                self._refused += 1
        if message.get("kind") in ("give", "reveal"):
            self._show()

    def _scene(self) -> dict[str, Any] | None:
        scene = self.question.scene(self.given, self.revealed)
        return None if scene is None else scene.data([])

    def _show(self) -> None:
        verdict = self.verdict
        told = {
            "given": self.given,
            "revealed": self.revealed,
            "right": None if verdict is None else verdict.right,
            "truth": self.question.details() if self.revealed else None,
            "scene": self._scene(),
            "say": self.text,
            "error": self._error,
            "refused": self._refused,  # the same refusal twice has to reach the page twice: its button waits
        }
        self.view.show(told)

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The living view, and at rest: the question, and what came of it."""
        came = self.text or "Still open."
        page = f"<p><b>Your prediction.</b> {html.escape(self.question.asks)}<br>{html.escape(came)}</p>"
        scene = self._scene()
        if scene is not None and self.revealed:
            size = _SIZE[self.question.kind]
            picture = still(scene, [PANEL], [1], [1], size, self.question.asks)
            source = f"data:image/png;base64,{b64encode(style.png(picture)).decode()}"
            page += f'<img alt="{html.escape(self.question.asks)}" width="{size[0]}" src="{source}">'
        living, _metadata = self.view._repr_mimebundle_() or ({}, {})
        return {**living, "text/html": page, "text/plain": f"{self.question.asks} {came}"}, {}

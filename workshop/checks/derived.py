"""Functions that a program will differentiate: their value is judged first, then their slopes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from workshop.checks.engine import Function


@dataclass(frozen=True)
class Derived(Function):
    """A function whose value is judged first; then `afterwards(answer)` tries its derivatives."""

    afterwards: Callable[[Callable], None] | None = None

    def judge(self, answer: Any) -> None:
        super().judge(answer)
        if self.afterwards is not None:
            self.afterwards(answer)

"""Work that is stopped, by a person or by an error: what was done is kept, and one sentence says what happened.

A progress line is only looked at: where it cannot be shown, the work goes on without it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from tqdm.std import tqdm

from .progress import progress_line

T = TypeVar("T")
_LONGEST = 200  # characters of another's complaint
_shown: ContextVar[bool] = ContextVar("bars are shown", default=True)


@contextmanager
def bars(shown: bool) -> Iterator[None]:
    """In this block no line is shown where `shown` is false: who asks for silence asks it of all that is called."""
    token = _shown.set(_shown.get() and shown)
    try:
        yield
    finally:
        _shown.reset(token)


class Bar:
    """A progress line that can do no harm to the work it shows: what goes wrong in showing it ends the line alone."""

    def __init__(self, label: str, *, shown: bool = True, total: int | None = None, delay: float = 0.0):
        self._line: Any = None
        self._at = 0
        self._quietly(lambda: self._begin(label, shown, total, delay))

    def __enter__(self) -> "Bar":
        self._quietly(lambda: self._line.__enter__())
        return self

    def __exit__(self, *error: object) -> None:
        self._quietly(lambda: self._line.__exit__(None, None, None))

    def update(self, count: int = 1) -> None:
        """Move on."""
        self._at += count
        self._quietly(lambda: self._line.update(count))

    def move_to(self, place: int) -> None:
        """Move on to this place."""
        self.update(place - self._at)

    def say(self, label: str, text: str) -> None:
        """Show other words before and behind the line from the next update on."""
        self._quietly(lambda: self._line.set_description_str(label, refresh=False))
        self._quietly(lambda: self._line.set_postfix_str(text))

    def _begin(self, label: str, shown: bool, total: int | None, delay: float) -> None:
        self._line = progress_line(label, total, shown=shown and _shown.get(), delay=delay)

    def _quietly(self, show: Callable[[], object]) -> None:
        try:
            show()
        except Exception:
            self._line = tqdm(disable=True)  # one that is not shown


def in_one_line(error: BaseException) -> str:
    """The kind of an error and the gist of its words: of a whole traceback, as XLA passes on, the last line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if "Traceback (most recent call last)" in str(error):
        return lines[-1][:_LONGEST]
    return f"{type(error).__name__}: {lines[0]}"[:_LONGEST]


def is_interrupt(error: BaseException) -> bool:
    """Was it a person who stopped the work? In code that XLA calls back, an interrupt becomes an error of XLA's."""
    return isinstance(error, KeyboardInterrupt) or in_one_line(error).startswith("KeyboardInterrupt")


def why_stopped(error: BaseException) -> str:
    """'interrupted', or by which error it was stopped."""
    return "interrupted" if is_interrupt(error) else f"stopped by an error ({in_one_line(error)})"


def to_the_end(work: Callable[[], T]) -> T:
    """What `work` returns; where it is interrupted it is begun again, and only a second interrupt gets through.

    For what takes a moment and stands between hours of work and its result.
    """
    try:
        return work()
    except KeyboardInterrupt:
        return work()

"""Which of several outcomes a model is seen through, told to what its `observations` calls."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_SEEN: ContextVar[str | None] = ContextVar("seen outcome", default=None)


@contextmanager
def seen_through(outcome: str) -> Iterator[None]:
    """While it lasts, the subjects' arrays without a name are those of this outcome."""
    before = _SEEN.set(outcome)
    try:
        yield
    finally:
        _SEEN.reset(before)


def seen_outcome() -> str | None:
    """The outcome that is looked at alone; None where a model is asked for all that it has."""
    return _SEEN.get()

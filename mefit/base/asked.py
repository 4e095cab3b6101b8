"""What a person asks for, looked at before anything is computed: shares, and counts."""

import operator
from typing import Any


def require_share(level: Any, what: str = "an interval holds a share", example: float = 0.95) -> None:
    """Raise ValueError for a level that is no share between 0 and 1, such as one in percent."""
    if not 0.0 < level < 1.0:
        raise ValueError(f"{what} between 0 and 1, such as level={example:g}; it got {level:g}.")


def require_count(count: Any, least: int, what: str) -> None:
    """Raise ValueError for a count that is no whole number of `least` or more."""
    try:
        enough = operator.index(count) >= least
    except TypeError:
        enough = False
    if not enough:
        raise ValueError(f"{what} is a whole number, {least} or more; it is {count!r}.")

"""What holds of every lesson's checks: planted mistakes get their reasons, right answers pass in any form."""

import re
from collections.abc import Callable, Iterable
from typing import Any


def assert_wrong(verdict: Any, part: str, hint: int, numbers: bool = False) -> None:
    """Wrong, for the reason that holds `part`, with this hint; unless `numbers` may be in it, none gives the answer."""
    assert verdict.state == "wrong", verdict.text
    assert part in verdict.reason, verdict.text
    assert verdict.hint == hint, verdict.text
    assert numbers or not re.search(r"\d\.\d", verdict.reason), verdict.text  # no number that could be the answer


def assert_right(check: Callable[..., Any], number: str, answer: Any) -> None:
    """Right twice, since functions are tried on fresh random inputs."""
    for _ in range(2):
        verdict = check(number, answer)
        assert verdict, verdict.text


def assert_enough(numbers: Iterable[str], planted: list, right: list) -> None:
    """Four mistakes and two ways of writing the answer for each of these exercises."""
    for number in numbers:
        assert sum(row[0] == number for row in planted) >= 4, number
        assert sum(row[0] == number for row in right) >= 2, number

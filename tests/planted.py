"""What is planted in a lesson's exercises: mistakes with the reason that each must get, and right answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Table:
    """The answers of one lesson, which test_checks.py gives to its checks."""

    exercises: Mapping[str, Any]
    planted: list[tuple]  # number, answer, part of the reason, hint (left out where a lesson names none)
    right: list[tuple]  # number, answer
    dots: Mapping[str, Any] = field(default_factory=dict)  # as the notebook shows it; else a function that returns dots
    elsewhere: tuple[str, ...] = ()  # exercises that the lesson's own file tests, with models and fits
    made_when_used: tuple[str, ...] = ()  # exercises whose answers need a fit, and are functions that make them
    draws: int = 1  # how often a wrong answer is checked, each time on fresh random inputs
    apart: bool = False  # whether no reason may hold the part of another mistake's reason in the same exercise
    numbers: bool = False  # whether reasons may hold numbers such as 1.2, which elsewhere could be the answer

    def answer(self, number: str, answer: Any) -> Any:
        return answer() if number in self.made_when_used else answer

    def others(self, number: str, part: str) -> set[str]:
        """What may not be said of a mistake whose reason holds `part`."""
        return {row[2] for row in self.planted if self.apart and row[0] == number and row[2] != part}

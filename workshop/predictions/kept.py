"""Where revealed predictions are kept: in a file on this computer, beside the progress of the exercises.

So a lesson that is run again, on another day and with a new kernel, still knows what was predicted.
"""

from pathlib import Path
from typing import Any

from workshop.checks.remembered import Remembered, progress_file


def store() -> Path | None:
    """The file; None where nothing is kept."""
    progress = progress_file()
    return None if progress is None else progress.with_name(".predictions.json")


class Kept(Remembered):
    """The answers that were revealed, by lesson and name."""

    def of(self, lesson: str) -> dict[str, Any]:
        """The answers of a lesson, by name."""
        return self.read().get(lesson, {})

    def keep(self, lesson: str, name: str, given: Any) -> None:
        """Keep an answer; a prediction that was revealed is never changed."""
        everything = self.read()
        everything.setdefault(lesson, {}).setdefault(name, given)
        self.write(everything)

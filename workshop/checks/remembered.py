"""What a learner has done, remembered in a file of this computer, or until the kernel ends where there is none."""

import json
import os
from pathlib import Path
from typing import Any

from mefit.base.files import write_whole

_ROOT = Path(__file__).resolve().parents[2]


def progress_file() -> Path | None:
    """Where the progress of the exercises is kept, and beside it what else is remembered.

    MEFIT_PROGRESS names another file, for a class whose copy of the kit cannot be written; empty, it means none.
    """
    named = os.environ.get("MEFIT_PROGRESS")
    if named == "":
        return None
    return Path(named) if named else _ROOT / ".progress.json"


class Remembered:
    """A dictionary by lesson and name, in a file; `file` may be None."""

    def __init__(self, file: Path | None):
        self.file = file
        self._memory: dict[str, dict[str, Any]] = {}

    def read(self) -> dict[str, dict[str, Any]]:
        """All of it; where the file is missing or damaged, what this kernel knows."""
        if self.file is None:
            return self._memory
        try:
            return json.loads(self.file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return self._memory

    def write(self, everything: dict[str, dict[str, Any]]) -> None:
        """Put this in its place. Where a file cannot be written, it is known until the kernel ends."""
        self._memory = everything
        if self.file is None:
            return
        text = json.dumps(everything, indent=1, sort_keys=True)
        try:
            write_whole(self.file, lambda draft: draft.write_text(text, encoding="utf-8"))
        except OSError:
            pass  # what was just said on the page is what matters

    def forget(self, lesson: str) -> None:
        """All of it but this lesson."""
        self.write({key: value for key, value in self.read().items() if key != lesson})

"""Where revealed predictions are kept: in a file on this computer, beside the progress of the exercises.

So a lesson that is run again, on another day and with a new kernel, still knows what was predicted.
"""

import json
import os
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]


def store() -> Path | None:
    """The file; None where the environment variable MEFIT_PROGRESS is empty, which means that nothing is kept."""
    named = os.environ.get("MEFIT_PROGRESS")
    if named == "":
        return None
    return Path(named).with_name(".predictions.json") if named else _ROOT / ".predictions.json"


class Kept:
    """The answers that were revealed, by lesson and name."""

    def __init__(self, file: Path | None):
        self._file = file
        self._memory: dict[str, dict[str, Any]] = {}

    def of(self, lesson: str) -> dict[str, Any]:
        """The answers of a lesson, by name."""
        return self._read().get(lesson, {})

    def keep(self, lesson: str, name: str, given: Any) -> None:
        """Keep an answer; a prediction that was revealed is never changed."""
        everything = self._read()
        everything.setdefault(lesson, {}).setdefault(name, given)
        self._write(everything)

    def forget(self, lesson: str) -> None:
        """Start a lesson's predictions anew."""
        self._write({key: value for key, value in self._read().items() if key != lesson})

    def _read(self) -> dict[str, dict[str, Any]]:
        if self._file is None:
            return self._memory
        try:
            return json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # none yet, or damaged: predictions start anew
            return self._memory

    def _write(self, everything: dict[str, dict[str, Any]]) -> None:
        self._memory = everything
        if self._file is None:
            return
        try:
            draft = self._file.with_suffix(f".{os.getpid()}")
            draft.write_text(json.dumps(everything, indent=1, sort_keys=True), encoding="utf-8")
            draft.replace(self._file)
        except OSError:
            pass  # a folder that cannot be written: they are kept until the kernel ends

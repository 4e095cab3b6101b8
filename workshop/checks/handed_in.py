"""One file for the teacher: what a learner's copy of the kit remembers, under the name that the learner gives."""

import json
import re
from pathlib import Path
from typing import Any

from mefit.base.files import write_whole

ENDING = ".mefit.json"
KEPT = {"exercises": ".progress.json", "predictions": ".predictions.json"}  # in the folder of a copy


def remembered(folder: Path) -> dict[str, dict[str, Any]]:
    """The exercises and the predictions that a copy of the kit keeps in a folder; nothing where there is nothing."""
    return {kind: _read(folder / file) for kind, file in KEPT.items()}


def write(name: str, kept: Path, folder: Path) -> Path:
    """Write it into `folder`; the file's name is made from the learner's. ValueError where that has no letter."""
    plain = re.sub(r"\W+", "_", name).strip("_")
    if not plain:
        raise ValueError("Give the name under which you want to hand in, in letters or digits.")
    text = json.dumps({"name": name, **remembered(kept)}, indent=1, sort_keys=True)
    file = folder / f"{plain}{ENDING}"
    write_whole(file, lambda draft: draft.write_text(text, encoding="utf-8"))
    return file


def _read(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}

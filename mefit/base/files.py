"""Files that are written whole or not at all."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path


def write_whole(path: str | os.PathLike, write: Callable[[Path], object]) -> None:
    """Let `write` make a file beside `path`, and put it in its place once it is whole.

    So a full disk or an interrupt leaves what was there before as it was. What is no file of a folder (a pipe, a
    terminal), or lies in a folder that takes no new file, is written in place.

    Raises OSError, of the same kind, with a sentence in its place.
    """
    place = Path(os.path.realpath(Path(path).expanduser()))
    in_place = place.exists() and not (place.is_file() and os.access(place.parent, os.W_OK))
    # The suffix stays, as it says how to compress.
    draft = place if in_place else place.with_name(f".{os.getpid()}-{place.name}")
    try:
        write(draft)
        if not in_place:
            if place.exists():
                shutil.copymode(place, draft)
            os.replace(draft, place)
    except OSError as error:
        kept = "" if in_place or not place.exists() else "; what was there before is as it was"
        why = error.strerror or str(error)
        raise type(error)(f"{path} could not be written ({why}){kept}: make room, or name another place.") from None
    finally:
        if not in_place:
            draft.unlink(missing_ok=True)

"""A folder of compiled programs that many processes read and write at once.

A program appears whole or not at all: it is written beside its place and moved there. It carries a digest, since
machine code that a power cut or a failing disk has changed must not be run. The folder is bounded: what was not used
for longest goes. Only the standard library is used here.
"""

import hashlib
import os
import time
import uuid
import warnings
from pathlib import Path

SUFFIX = "-cache"  # of a program's file, as JAX's own folder has it
_UNFINISHED = ".unfinished"  # of a file that is being written
_DIGEST = 16  # bytes
_STALE = 3600.0  # seconds: a file that has been unfinished for so long will not be finished
_USED_AGAIN = 3600.0  # seconds: use is noted no more often
_KEPT_SHARE = 0.75  # of the bound, once it was passed


class ProgramFolder:
    """Programs by name, as JAX's cache asks for them by `get` and `put`.

    **Arguments:** the folder, which is there; the most that it may hold, in bytes; and whether it is `writable`. One
    that is not is only read.
    """

    def __init__(self, folder: Path, most: float, writable: bool):
        self._path = folder
        self._most = most
        self._writable = writable
        self._since_last_look = most  # so that the first program that is written is followed by a look

    def get(self, key: str) -> bytes | None:
        """The program of this name; None where there is none, or none that is whole, which is then taken away."""
        place = self.place(key)
        try:
            whole = place.read_bytes()
        except OSError:
            return None
        program = whole[_DIGEST:]
        if _digest(program) != whole[:_DIGEST]:
            self.take_away(key)
            return None
        self._note_use(place)
        return program

    def put(self, key: str, value: bytes) -> None:
        """Keep a program, unless another process has kept it already; say once where that cannot be done."""
        place = self.place(key)
        if not self._writable or place.exists():
            return
        unfinished = self._path / f".{uuid.uuid4().hex}{_UNFINISHED}"
        try:
            unfinished.write_bytes(_digest(value) + value)
            _move(unfinished, place)
        except OSError as error:
            self._writable = False
            _remove(unfinished)
            why = f"no more compiled programs can be kept ({error.strerror}); all works, but the next start is slower."
            warnings.warn(why, stacklevel=2)
            return
        self._since_last_look += len(value)
        if self._since_last_look > 0.1 * self._most:
            self._since_last_look = 0.0
            self.keep_within_bounds()

    def place(self, key: str) -> Path:
        """The file of a program."""
        return self._path / f"{key}{SUFFIX}"

    def take_away(self, key: str) -> None:
        """Forget a program; where that cannot be done another process may."""
        if self._writable:
            _remove(self.place(key))

    def keep_within_bounds(self) -> None:
        """Where the programs take more than the bound, delete those not used for longest."""
        programs = []
        now = time.time()
        for entry in os.scandir(self._path):
            try:
                state = entry.stat()
            except OSError:
                continue  # another process has just taken it away
            if entry.name.endswith(_UNFINISHED) and now - state.st_mtime > _STALE:
                _remove(Path(entry.path))
            elif entry.name.endswith(SUFFIX):
                programs.append((state.st_mtime, state.st_size, entry.path))
        size = sum(program[1] for program in programs)
        if size <= self._most:
            return
        for _, bytes_of_program, path in sorted(programs):
            if size <= _KEPT_SHARE * self._most:
                break
            _remove(Path(path))
            size -= bytes_of_program

    def _note_use(self, place: Path) -> None:
        """Let the file's time say that it was used: many systems keep no time of reading."""
        try:
            if self._writable and time.time() - place.stat().st_mtime > _USED_AGAIN:
                os.utime(place)
        except OSError:
            pass  # another process has just taken it away, or owns it


def can_write(folder: Path) -> bool:
    """Whether files can be made in a folder."""
    trial = folder / f".{uuid.uuid4().hex}{_UNFINISHED}"
    try:
        trial.write_bytes(b"")
    except OSError:
        return False
    _remove(trial)
    return True


def _digest(program: bytes) -> bytes:
    return hashlib.blake2b(program, digest_size=_DIGEST).digest()


def _move(unfinished: Path, place: Path) -> None:
    try:
        os.replace(unfinished, place)
    except PermissionError:  # Windows, where another process is reading the same program
        if not place.exists():
            raise
        _remove(unfinished)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        pass  # another process has it open (Windows), or it is not ours to remove

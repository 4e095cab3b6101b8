"""One file that holds several: texts and arrays in a zip, written whole or not at all, of which nothing is run."""

import io
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from .files import write_whole

_DAY_ONE = (1980, 1, 1, 0, 0, 0)  # of every member: the same contents make the same file


def write_archive(path: str | os.PathLike, texts: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> None:
    """Write texts, as UTF-8, and arrays, in NumPy's own format, by their names in the archive.

    Raises:
        OSError: a full disk, or a place that cannot be written to; what was there before stays as it was.
    """

    def write(draft: Path) -> None:
        with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in texts.items():
                archive.writestr(_member(name), text.encode("utf-8"))
            for name, array in arrays.items():
                bytes_of = io.BytesIO()
                np.lib.format.write_array(bytes_of, array, allow_pickle=False)
                archive.writestr(_member(name), bytes_of.getvalue())

    write_whole(path, write)


def _member(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name, _DAY_ONE)
    member.compress_type = zipfile.ZIP_DEFLATED
    member.external_attr = 0o644 << 16
    return member


class Archive:
    """What `write_archive` wrote, read member by member.

    Raises:
        OSError: no file of this name, or one that may not be read.
        ValueError: a file that is no zip, or lacks its end.
    """

    def __init__(self, path: str | os.PathLike):
        self._place = Path(path).expanduser()
        self.path = str(path)
        if self._place.is_dir():
            raise ValueError(f"{path} is a folder, and what mf.save writes is a file: name that.")
        try:
            with zipfile.ZipFile(self._place) as archive:
                self._names = frozenset(archive.namelist())
        except zipfile.BadZipFile:
            raise ValueError(
                f"{path} is not a whole file of mf.save: its end is missing, or it is of another kind; "
                "copy it again from where it came."
            ) from None

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def text(self, name: str) -> str:
        """A text by its name. ValueError where it is missing or damaged."""
        return self._bytes(name).decode("utf-8")

    def array(self, name: str) -> np.ndarray:
        """An array by its name. ValueError where it is missing or damaged."""
        try:
            return np.load(io.BytesIO(self._bytes(name)), allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise self._damaged(name) from error

    def _bytes(self, name: str) -> bytes:
        if name not in self:
            raise self._damaged(name)
        try:
            with zipfile.ZipFile(self._place) as archive:
                return archive.read(name)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:  # its checksum does not hold
            raise self._damaged(name) from error

    def _damaged(self, name: str) -> ValueError:
        return ValueError(f"{self.path} is damaged: {name} is missing or not as it was written; copy it again.")

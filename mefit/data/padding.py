"""Values written one under another, of subjects that are numbered from 0, set side by side with
padding.
"""

from typing import Any

import numpy as np


def turns(numbers: np.ndarray) -> np.ndarray:
    """For sorted numbers, such as the subject of each row: a row's place among those of its number,
    from 0.
    """
    return np.arange(len(numbers)) - np.searchsorted(numbers, numbers)


def side_by_side(subject: np.ndarray, values: np.ndarray, size: int, fill: Any) -> np.ndarray:
    """(size, most): the values of each subject side by side, then `fill`, one for all or one for
    each subject.
    """
    most = np.bincount(subject, minlength=size).max()
    out = np.empty((size, most), values.dtype)
    out.T[:] = fill
    out[subject, turns(subject)] = values
    return out

"""Which rows of a frame become rows of a subject: one for each time, and one for each replicate."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from ..by_outcome import UNNAMED
from .doses import DOSING, OBSERVATION, Columns
from .reader import Reader, starts


class Moments(NamedTuple):
    """The rows that are kept, those of one subject and time together, but replicates apart."""

    kept: np.ndarray  # true or false for every row of the frame
    number: np.ndarray  # of each row kept, its moment, from 0
    of_outcome: Columns  # of each row kept, the moment of its response, by outcome
    alike: np.ndarray  # rows of one number here have the same covariates

    def merged(self, column: np.ndarray) -> np.ndarray:
        """A column by moment: the first value that is not missing."""
        return self._first(column, self.number)

    def responses(self, outcome: str, column: np.ndarray, empty: float = np.nan) -> np.ndarray:
        """A column of what belongs to the responses of an outcome, by moment."""
        values = self._first(column, self.of_outcome[outcome])
        return np.where(np.isnan(values), empty, values)

    def _first(self, column: np.ndarray, number: np.ndarray) -> np.ndarray:
        first = pd.Series(column[self.kept]).groupby(number).first()
        return first.reindex(range(int(self.number.max()) + 1)).to_numpy()


def moments_of(reader: Reader, time: np.ndarray, event: np.ndarray, y: Columns, states: list[np.ndarray]) -> Moments:
    """The moments of a frame sorted by subject and time, with responses `y` by outcome.

    `states` are the covariates of every row: a dose at which one changes is kept.

    Several observations of one outcome at the same time, such as two assays of one sample, are as
    many moments. Where there is a single outcome, one that is missing counts as well.
    """
    kept = _kept(reader, time, event != DOSING, states)
    if not kept.any():
        raise ValueError(
            "The data hold doses and no other row. For people who have no response yet, give each a row after the "
            "doses, with an empty response."
        )
    together = np.cumsum(starts(reader.subject[kept], time[kept])) - 1
    turns = {}
    for outcome, response in y.items():
        counted = event == OBSERVATION if outcome == UNNAMED else ~np.isnan(response)
        turns[outcome] = _turns(together, counted[kept])
        _tell_replicates(reader, np.flatnonzero(kept)[turns[outcome] > 0], response)
    turn = np.max(list(turns.values()), axis=0)
    size = 1 + pd.Series(turn).groupby(together).max().to_numpy()
    first = np.cumsum(size) - size
    number = first[together] + turn
    of_outcome = {outcome: first[together] + own for outcome, own in turns.items()}
    return Moments(kept, number, of_outcome, number if UNNAMED in y else together)


def _turns(together: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """The place of each row that is counted among those of its time, from 0; 0 for the others."""
    place = pd.Series(counted.astype(int)).groupby(together).cumsum().to_numpy() - 1
    return np.where(counted, place, 0)


def _tell_replicates(reader: Reader, rows: np.ndarray, response: np.ndarray) -> None:
    """Note the rows that are observed again at the same time, and those that look like a slip."""
    again = np.isin(np.arange(len(response)), rows)
    same = again & (response == np.roll(response, 1))
    reader.note(again & ~same, "A further observation at the same time is read as a replicate")
    reader.note(
        same,
        "The same response at the same time as in the row before is read as a replicate; drop it if it is a slip",
    )


def _kept(reader: Reader, time: np.ndarray, is_row: np.ndarray, states: list[np.ndarray]) -> np.ndarray:
    """The rows to keep: all but doses, and those doses at which a covariate changes, where a row
    follows.

    Before a subject's first row a dose is kept where its covariates differ from those of that row;
    after it, where they differ from those of the row before.
    """
    subject = reader.subject
    place = np.arange(len(time))
    # the next row that is no dose; the last of all where none follows
    following = np.minimum.accumulate(np.where(is_row, place, len(place) - 1)[::-1])[::-1]
    same_subject = is_row[following] & (subject[following] == subject)
    before = ~is_row & same_subject & (time[following] > time)
    first_of_subject = following[np.searchsorted(subject, subject)]
    leading = before & (following == first_of_subject)
    changes = np.zeros(len(time), bool)
    for values in states:
        changes |= leading & (values != values[following])
        changes |= before & ~starts(subject) & starts(values)
    reader.note(changes, "A covariate changes at a dose: its time is kept as a row without a response")
    return is_row | changes

"""What predictions are compared with: a person's own mean so far, and the mean of people at that time."""

import numpy as np
from jaxtyping import Float

from ..curves.encoding import shares_planned_times
from ..data.by_outcome import as_dict
from ..data.choosing import measured
from ..data.population import Population

PSEUDO_OBSERVATIONS = 2.0  # of the overall mean, towards which a person's own mean is shrunk
_BINS = 20  # of one size, where people have times of their own


def _numbers(population: Population, outcome: str, happens: bool) -> Float[np.ndarray, "N n"]:
    """The responses; of what happens or not 0 and 1, as an event found at a visit (2) is one event and not two."""
    y = np.asarray(as_dict(population.subjects.y)[outcome], float)
    return (y != 0).astype(float) if happens else y


def own_mean(
    population: Population, outcome: str, at: float, overall: float, happens: bool = False
) -> Float[np.ndarray, " N"]:
    """Each person's mean of the responses up to `at`, and of two pseudo-observations of the overall mean.

    Of what `happens` or not, such as an event, it is a share.
    """
    early = measured(population.subjects, outcome) & (np.asarray(population.subjects.time) <= at)
    y = _numbers(population, outcome, happens)
    total = np.where(early, y, 0.0).sum(axis=1)
    return (total + PSEUDO_OBSERVATIONS * overall) / (early.sum(axis=1) + PSEUDO_OBSERVATIONS)


class MeanByTime:
    """The mean of a population's responses of one outcome at each planned time, or in twentieths of all times.

    Of what `happens` or not, such as an event, it is a share.
    """

    def __init__(self, reference: Population, outcome: str, happens: bool = False):
        seen = measured(reference.subjects, outcome)
        time = np.asarray(reference.subjects.time, float)[seen]
        y = _numbers(reference, outcome, happens)[seen]
        if not y.size:
            raise ValueError(f"the reference has no response of {outcome or 'the outcome'}: give people with some.")
        self.overall = float(y.mean())
        planned = np.unique(time)
        if not shares_planned_times(reference):
            planned = np.unique(np.quantile(time, (np.arange(_BINS) + 0.5) / _BINS))
        self._halfway = 0.5 * (planned[1:] + planned[:-1])
        place = self._place(time)
        count = np.bincount(place, minlength=planned.size)
        total = np.bincount(place, weights=y, minlength=planned.size)
        self._means = np.where(count > 0, total / np.maximum(count, 1), self.overall)

    def __call__(self, time: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
        return self._means[self._place(time)]

    def _place(self, time: np.ndarray) -> np.ndarray:
        return np.searchsorted(self._halfway, time)

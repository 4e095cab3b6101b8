"""The method that an objective stands for."""

from ..data.population import Population
from ..objectives.objective import Objective
from .adam import Adam
from .maximise import Maximise
from .method import Method

_BATCH = 100  # subjects of a step, where something is learned beside the model


def as_method(given: Objective | Method, population: Population) -> Method:
    """The method itself, or the one that maximises this objective: training, where it learns something by itself."""
    if not isinstance(given, Objective):
        return given
    if given.guide is None:
        return Maximise(given)
    return Adam(given, steps=3000, learning_rate=5e-3, batch=min(_BATCH, len(population)))

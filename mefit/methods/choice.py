"""The method that an objective stands for."""

from ..data.population import Population
from ..objectives.amortised import Amortised
from ..objectives.objective import Objective
from .adam import Adam
from .maximise import Maximise
from .method import Method

_BATCH = 100  # subjects of a step, where something is learned beside the model


def as_method(given: Objective | Method, population: Population) -> Method:
    """The method itself, or the one that maximises this objective: training, where an encoder is learned besides."""
    if not isinstance(given, Objective):
        return given
    if isinstance(given, Amortised):
        return Adam(given, steps=3000, learning_rate=5e-3, batch=min(_BATCH, len(population)))
    return Maximise(given)

"""Exercises of lesson 12, mixtures of experts: the table.

What is right and what is wrong stands in kinds_12.py, choosing_12.py and sets_12.py.
"""

from workshop.checks.choosing_12 import BIC, CHOSEN, HELD, ORDERED
from workshop.checks.engine import Exercise, Parts
from workshop.checks.kinds_12 import GATE, M_STEP, RESPONSIBILITIES
from workshop.checks.sets_12 import LENGTH, PROMISED, WHOLE

EXERCISES: dict[str, Exercise] = {
    "12.1": RESPONSIBILITIES,
    "12.2": M_STEP,
    "12.3": GATE,
    "12.4": Parts(
        "How many kinds?",
        [BIC, CHOSEN, HELD],
        praise="A criterion counts parameters, and does not look at people: count those that a class holds, too.",
    ),
    "12.5": ORDERED,
    "12.6": LENGTH,
    "12.7": Parts(
        "A promise kept",
        [WHOLE, PROMISED],
        praise="No density was needed, and no truth: only people whom the model had not seen.",
    ),
}

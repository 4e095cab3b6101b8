"""Exercises of lesson 11, precision dosing: the table.

What is right and what is wrong stands in risks_11.py, closed_dose_11.py, sample_11.py, models_11.py and batch_11.py.
"""

from workshop.checks import models_11
from workshop.checks.batch_11 import LARGEST, NATS_OF_BATCH
from workshop.checks.closed_dose_11 import CHANCE, LEAST
from workshop.checks.engine import Exercise, Judged, Parts
from workshop.checks.risks_11 import BEST, EXPECTED, RISKS
from workshop.checks.sample_11 import EXPECTED_SD, WEIGH

EXERCISES: dict[str, Exercise] = {
    "11.1": RISKS,
    "11.2": Parts(
        "The dose of least expected loss",
        [EXPECTED, BEST],
        praise="The loss is a sentence about patients, said by whoever treats them: the posterior does not know it.",
    ),
    "11.3": Parts(
        "The same in closed form",
        [CHANCE, LEAST],
        praise="What is not known enters by its variance. Halve the SD, and three quarters of the caution go.",
    ),
    "11.4": WEIGH,
    "11.5": EXPECTED_SD,
    "11.6": Parts(
        "Bea",
        [Judged("who", models_11.judge_who), Judged("choice", models_11.judge_choice)],
        praise="The dose that the area asks for would break the ceiling: a quick patient with a high peak gets too "
        "little, and more often is the answer.",
    ),
    "11.7": Parts(
        "A batch that puts to sleep",
        [NATS_OF_BATCH, LARGEST],
        praise="Nothing in the data has changed, and nothing in the networks: the batch alone decides whether patients "
        "differ.",
    ),
}

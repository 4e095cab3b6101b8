"""Exercises of lesson 10, variational autoencoders: the table, and what dropout does to each way of treating it.

Each other exercise has its own file: divergence_10.py, bound_10.py, mask_10.py, models_10.py (fits), sleep_10.py,
weights_10.py and errors_10.py.
"""

from typing import Any

from workshop.checks import models_10
from workshop.checks.bound_10 import BOUND, COVARIANCE, MEAN
from workshop.checks.divergence_10 import DIVERGENCE
from workshop.checks.engine import Exercise, Judged, Parts, StillOpen, Wrong
from workshop.checks.errors_10 import ERRORS
from workshop.checks.mask_10 import MASKED
from workshop.checks.sleep_10 import LOST, NATS
from workshop.checks.weights_10 import FORECAST, WEIGHTS

WAYS = {  # what each estimate of the mean at the last visit is, and why
    "available cases": ("too low", "Those who are left are the ones with little pain. Their mean is theirs alone."),
    "last value carried forward": (
        "too high",
        "Scores fall from week to week, and those who left did so early, with a high score that is then kept.",
    ),
    "mean imputation": (
        "too low",
        "Filling in the mean of those who are left gives the mean of those who are left, once more.",
    ),
    "available cases, leaving by lot": (
        "right",
        "Where a lot decides who leaves, those who stay are a random half of all.",
    ),
    "last value carried forward, leaving by lot": (
        "too high",
        "Even where a lot decides, a score of week 2 is no score of week 5: pain falls meanwhile.",
    ),
    "the bound, leaving by the score that is missed": (
        "too low",
        "If people leave because of a score that nobody saw, then no method that looks at what was seen can know it: "
        "the high scores are missing, so it errs to the same side as those who stay.",
    ),
}
SAID = ("too low", "right", "too high")


def judge_ways(answer: Any) -> None:
    """`misled`: "too low", "right" or "too high" for each way."""
    if hasattr(answer, "to_dict"):  # a pandas Series
        answer = answer.to_dict()
    if not isinstance(answer, dict) or set(answer) != set(WAYS):
        raise Wrong("Keep the six names of `misled`, and put one of the three words after each.", None)
    given = {name: value if value is ... else " ".join(str(value).lower().split()) for name, value in answer.items()}
    if any(value is ... for value in given.values()):
        raise StillOpen
    for name, value in given.items():
        if value not in SAID:
            raise Wrong(f"{value!r}, for {name}, is none of {', '.join(map(repr, SAID))}.", None)
    wrong = [name for name, (truth, _) in WAYS.items() if given[name] != truth]
    if wrong:
        right = len(WAYS) - len(wrong)
        raise Wrong(f"{right} of {len(WAYS)} are right. Not so *{wrong[0]}*: {WAYS[wrong[0]][1]}", 3)


EXERCISES: dict[str, Exercise] = {
    "10.1": DIVERGENCE,
    "10.2": Parts(
        "The bound of one person",
        [BOUND, COVARIANCE, MEAN],
        praise="With q at the posterior nothing is lacking: log L = bound + KL, and that KL is 0.",
    ),
    "10.3": MASKED,
    "10.4": Judged(
        "An encoder for everybody",
        models_10.judge_encoder,
        praise="One network answers for everybody, a new person too, and the weights of its draws say how well.",
    ),
    "10.5": Parts(
        "A random effect that sleeps",
        [NATS, LOST, Judged("cured", models_10.judge_cured)],
        praise="The gap did not warn, for at the collapsed end it is nearly zero. The KL of a dimension does, and the "
        "likelihood too.",
    ),
    "10.6": Parts(
        "Missing at random",
        [Judged("at_the_end", models_10.judge_end), Judged("misled", judge_ways)],
        praise="Right under MAR: what was seen says who leaves, and the likelihood has seen it. No mean of those who "
        "stay has.",
    ),
    "10.7": Parts(
        "Weigh the guesses",
        [WEIGHTS, FORECAST, ERRORS],
        praise="One set of weights serves a new person's future and the errors of theta, while enough draws count.",
    ),
}

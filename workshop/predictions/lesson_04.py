"""What lesson 04 asks its readers to predict."""

import numpy as np

from workshop.explorers.scene import Axis, Panel
from workshop.predictions.questions import Choice, Curve, Number, Question

_B = np.array([0.1, 0.175, 0.25, 0.375, 0.5, 0.625, 0.75, 0.825, 0.9])

QUESTIONS: dict[str, Question] = {
    "iterations": Curve(
        "How many iterations does EM need for each further digit? Draw it for B from 0.1 to 0.9.",
        Panel(
            Axis(0, 1, "B: 1 where the data say all about η, 0 where they say nothing"),
            Axis(1, 1000, "iterations per digit (log scale)", log=True),
        ),
        _B,
        {"iterations": np.log(10) / -np.log(1 - _B**2)},
        within=0.08,
    ),
    "modes": Choice(
        "Modes in place of distributions: ω² is too small, or collapses. Where have you seen this before?",
        ("in separate fits", "in the centred joint fit of lesson 02", "in FO"),
        "in the centred joint fit of lesson 02",
    ),
    "accepted": Choice(
        "Is a high share of accepted proposals always a good sign?",
        ("yes", "for fresh proposals yes, for a random walk no", "no, never"),
        "for fresh proposals yes, for a random walk no",
    ),
    "annealing": Number(
        "An ω starts at 1 and belongs at 0.135; annealing lets it fall by 3% an iteration at most. After how many "
        "iterations can it be there at the earliest?",
        66,
        7,
        0,
        200,
    ),
    "tenth": Choice(
        "Two models, both fitted by SAEM, differ by 0.1 in −2 log L by importance sampling. What do you conclude?",
        ("the smaller one is the better model", "nothing: another key moves each of them by as much"),
        "nothing: another key moves each of them by as much",
    ),
}

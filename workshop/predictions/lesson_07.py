"""What lesson 07 asks its readers to predict."""

import numpy as np

from workshop.explorers.scene import Axis, Dots, Panel
from workshop.predictions.questions import PANEL, Choice, Curve, Question
from workshop.studies import indirect_response as study

_DOSES = np.logspace(-1.5, 0.5, 13)
_PEAKS = study.truth(_DOSES.tolist(), study.TIME).max(1)
_AT_ONE = float(study.truth([1.0], study.TIME).max())
_MODELS = ("network of time", "neural ODE", "UDE", "targeted UDE")

QUESTIONS: dict[str, Question] = {
    "peaks": Curve(
        "How high will the response peak under other doses? Draw it, from a thirtieth of her dose to three times it.",
        Panel(Axis(0.0316, 3.17, "each of the two doses (log scale)", log=True), Axis(0, 3, "highest response")),
        _DOSES,
        {"peak": _PEAKS},
        within=0.07,
        given=[Dots(PANEL, "seen", "data", 1.0, _AT_ONE, label="patient A's dose", size=9)],
    ),
    "tenth": Choice("Which of the four models will come closest under a tenth of the dose?", _MODELS, "targeted UDE"),
    "three": Choice("And which will be furthest away under three times the dose?", _MODELS, "neural ODE"),
    "hour 100": Choice(
        "The network has learnt hours 0 to 15. What does it say of hour 100?",
        (
            "that the response is back where it began",
            "some constant that no measurement has asked for",
            "nothing: it refuses",
        ),
        "some constant that no measurement has asked for",
    ),
    "L1": Choice(
        "L1 is the penalty λ Σ |w|. What will it do to weights that are of little use?",
        ("make them small", "set them to exactly zero", "nothing"),
        "set them to exactly zero",
    ),
    "good at 0.1": Choice(
        "Why is the targeted model good at a dose of 0.1?",
        (
            "the concentrations there were seen, on the way up and down",
            "a dose of 0.1 is close to 1",
            "it has the fewest weights",
        ),
        "the concentrations there were seen, on the way up and down",
    ),
    "run away": Choice(
        "A network in a differential equation can run away. Why can a network of time not?",
        ("it has fewer weights", "what it says at one hour does not go into the next", "its tanh levels off"),
        "what it says at one hour does not go into the next",
    ),
    "link": Choice(
        "A network is to give a clearance of about 0.010 ± 0.003 L/h, never negative. Which link and constants?",
        ("no link, shift 0.010, scale 0.003", "exp, shift log 0.010, scale 0.3", "exp, shift 0.010, scale 0.003"),
        "exp, shift log 0.010, scale 0.3",
    ),
}

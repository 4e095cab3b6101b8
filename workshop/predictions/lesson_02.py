"""What lesson 02 asks its readers to predict."""

import numpy as np

from workshop.explorers.scene import Axis, Panel
from workshop.predictions.questions import Choice, Curve, Number, Question

_SIZES = np.arange(1, 11)

QUESTIONS: dict[str, Question] = {
    "tall": Choice(
        "Patient 2 has the tallest likelihood of all. How can her area be the smallest?",
        (
            "her measurements are noisier than the others'",
            "an area is height times width, and her likelihood is very thin",
            "the area leaves the prior out",
        ),
        "an area is height times width, and her likelihood is very thin",
    ),
    "pairs": Number(
        "The true σ² is 1, and the model is right. From 1,000 pairs of measurements, what will joint maximum "
        "likelihood say σ² is?",
        0.5,
        0.05,
        0,
        2,
    ),
    "sizes": Curve(
        "And with other numbers of measurements per group? Draw the σ² that joint maximum likelihood comes to, from "
        "n = 1 to n = 10.",
        Panel(Axis(1, 10, "measurements per group, n"), Axis(0, 2, "estimate of σ², where 1 is true")),
        _SIZES,
        {"estimate": 1 - 1 / _SIZES},
        within=0.06,
        then="It is 1 − 1/n.",
    ),
    "local": Choice(
        "At c = 4 the centred joint density has a local mode. Is it a fair estimate of τ after all?",
        ("yes, it is where the marginal maximum is", "no, it is too low", "no, it is too high"),
        "no, it is too low",
    ),
    "two forms": Choice(
        "Two samples of theophylline per subject. What will the two forms of the joint fit say of the SDs between "
        "subjects?",
        (
            "both about what all samples say",
            "centred: no spread at all; non-centred: ever more spread",
            "centred: ever more spread; non-centred: no spread at all",
        ),
        "centred: no spread at all; non-centred: ever more spread",
    ),
    "steep": Number(
        "Twelve subjects with two random effects each. By how much does the centred joint log density rise, at small "
        "s, when log s falls by 1?",
        24,
        0.5,
        0,
        60,
    ),
    "free": Choice(
        "Now σ is free, with two samples and two random effects for each subject. Which standard deviation will the "
        "joint density like to make small?",
        ("the residual SD σ", "the SDs between subjects", "neither"),
        "the residual SD σ",
    ),
}

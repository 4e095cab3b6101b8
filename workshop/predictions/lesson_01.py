"""What lesson 01 asks its readers to predict."""

import numpy as np

from workshop.explorers.scene import Axis, Panel
from workshop.predictions.questions import Choice, Curve, Number, Question

# Of a thousand virtual people by the mixed fit of the lesson, each with 4.4 mg/kg: hours, and the percentiles 5 and 95.
_HOURS = (0.27, 0.52, 1.0, 1.92, 3.5, 5.02, 7.03, 9.0, 12.0, 24.3)
_LOW = (1.01, 2.26, 3.87, 5.34, 5.4, 4.64, 3.67, 2.71, 1.71, -0.22)
_HIGH = (6.79, 8.99, 10.09, 10.05, 9.07, 8.31, 7.22, 6.5, 5.46, 3.05)

QUESTIONS: dict[str, Question] = {
    "clearance": Number(
        "Somebody has η = 0.27 for clearance. How many times the typical clearance is hers?",
        1.31,
        0.02,
        0,
        3,
        "times",
    ),
    "thirteenth": Choice(
        "Which fit can tell you what to expect of a thirteenth person, and how much such people differ?",
        ("the pooled fit", "the separate fits", "the mixed fit"),
        "the mixed fit",
    ),
    "pull": Number(
        "People differ as much as measurements do (ω = σ). With 4 measurements of each, what share of the way to "
        "zero is an estimate pulled?",
        20,
        2,
        0,
        100,
        "%",
    ),
    "real": Choice("Which twelve are real?", ("those on the left", "those on the right"), "those on the right"),
    "band": Curve(
        "A thirteenth person takes 4.4 mg/kg. Draw the band in which nine of ten samples of such people will lie: "
        "first its lower edge, then its upper one.",
        Panel(Axis(0, 25, "time (h)"), Axis(-1, 14, "theophylline (mg/L)")),
        np.array(_HOURS),
        {"lower edge": np.array(_LOW), "upper edge": np.array(_HIGH)},
        within=0.07,
        then="Compare it with the picture below: it holds what differs between people, and the noise.",
    ),
    "pooled people": Choice(
        "Twelve people are simulated from the pooled fit, η = 0 and σ = 1.44 mg/L. What will their lines look like?",
        (
            "smooth curves, well apart, like the real ones",
            "ragged copies of one curve, which cross all the time",
            "twelve times the same smooth curve",
        ),
        "ragged copies of one curve, which cross all the time",
    ),
    "correlation": Number(
        "Sleepstudy without its random slope, ω = 23.8 ms, σ = 25.6 ms: what is the correlation of days 0 and 9?",
        0.46,
        0.03,
        0,
        1,
        then="It is the same between day 8 and day 9.",
    ),
}

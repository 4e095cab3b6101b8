"""What lesson 13 asks its readers to predict."""

from workshop.predictions.questions import Choice, Number, Question

QUESTIONS: dict[str, Question] = {
    "where": Choice(
        "One compartment, absorbed from the moment of the dose. Where will the warfarin data contradict it first?",
        ("in the first hours", "at the end, after four days", "in the heaviest people"),
        "in the first hours",
    ),
    "lag": Number(
        "By how much will −2LL fall when absorption may begin late, one parameter more?",
        138.2,
        1.5,
        1,
        1000,
        log=True,
    ),
    "covariate": Choice(
        "Weight, age and sex; absorption, clearance and volume. Which relation is worth most?",
        ("weight on clearance", "weight on volume", "age on clearance", "sex on volume"),
        "weight on volume",
    ),
    "network": Choice(
        "Thirteen weights lower −2LL by 27 units. What did the network draw?",
        ("the usual curve, with wiggles", "a steeper curve", "a flatter curve", "a curve that falls again"),
        "a steeper curve",
    ),
    "dose": Choice(
        "One person of 70 kg, of whom nothing is known, and too much is five times as bad as too little. How likely is "
        "the best of five daily doses to bring the mean concentration into that range?",
        ("about one in four", "about one in two", "about nine in ten"),
        "about one in four",
    ),
}

"""What lesson 08 asks its readers to predict."""

from workshop.predictions.questions import Choice, Number, Question

QUESTIONS: dict[str, Question] = {
    "time alone": Number(
        "Measurements scatter by 0.05. What residual SD σ will a network of time alone find?", 0.27, 0.05, 0, 0.5
    ),
    "one number": Number("And a network with one extra number for each person?", 0.07, 0.02, 0, 0.5),
    "two numbers": Number("And with two extra numbers for each person?", 0.05, 0.01, 0, 0.5),
    "names": Choice(
        "You train again from other starting weights. Will subject 3 get the same η?",
        ("yes", "no, but the same curve", "no, and another curve"),
        "no, but the same curve",
    ),
    "third": Choice(
        "And a third random effect? What will it do to the likelihood of people held out?",
        ("raise it a lot", "next to nothing", "lower it a lot"),
        "next to nothing",
    ),
    "all samples": Choice(
        "With all 21 measurements of each person, is JointMAP still so bad?",
        ("just as bad", "less, but its virtual people are still wrong", "no, it is as good as the marginal fit"),
        "less, but its virtual people are still wrong",
    ),
    "once": Choice(
        "A person is measured once, at t = 0.5. What does the network know of the curve at t = 0.1?",
        ("as much as at 0.5", "more than of a stranger, less than at 0.5", "nothing"),
        "more than of a stranger, less than at 0.5",
    ),
}

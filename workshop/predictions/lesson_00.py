"""What lesson 00 asks its readers to predict."""

from workshop.predictions.questions import Choice, Question

QUESTIONS: dict[str, Question] = {
    "again": Choice(
        "The same twenty people are measured a second time at the same hours. Will the dots move more than if "
        "twenty new people came, or less?",
        ("far less", "about as much", "more"),
        "far less",
    ),
}

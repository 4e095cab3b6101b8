"""What lesson 03 asks its readers to predict."""

from workshop.predictions.questions import Choice, Number, Question

QUESTIONS: dict[str, Question] = {
    "accident": Choice(
        "For subject 5 with one sample FO finds 102% of the area, Laplace 72%. Is FO the better method there?",
        ("yes", "no: what it has too much on one side makes up for what it lacks on the other"),
        "no: what it has too much on one side makes up for what it lacks on the other",
    ),
    "width": Choice(
        "FOCE and Laplace use the same mode and the same height. Why are their areas 161% and 97%?",
        ("their curves have different widths", "FOCE leaves the prior out", "Laplace uses more points"),
        "their curves have different widths",
    ),
    "log": Choice(
        "Monte Carlo's estimate of L is unbiased. And its estimate of log L?",
        ("unbiased as well", "too low on average", "too high on average"),
        "too low on average",
    ),
    "more": Choice(
        "With what does Laplace's error in the mean log-likelihood per subject go away?",
        ("more subjects", "more samples of each subject, usually", "both", "neither"),
        "more samples of each subject, usually",
    ),
    "ruler": Choice(
        "FO has the smallest −log L, by 5 units and more. Does FO fit these data best?",
        ("yes", "no: each method has measured with a ruler of its own"),
        "no: each method has measured with a ruler of its own",
    ),
    "clusters": Number(
        "Twenty thousand clusters of two answers each, made with ω = 1. What will Laplace say ω is?",
        0.70,
        0.07,
        0,
        2,
    ),
}

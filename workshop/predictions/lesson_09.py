"""What lesson 09 asks its readers to predict."""

from workshop.predictions.questions import Choice, Number, Question

QUESTIONS: dict[str, Question] = {
    "regimen": Number(
        "A regimen that nobody got. Take the error of 'everybody is average' as 100%: how large is the network's?",
        50,
        10,
        0,
        150,
        "%",
    ),
    "1,000 people": Number(
        "Prediction without any data of the person; 100% is the error without covariates. What is left of it when "
        "1,000 people have taught a network of covariates?",
        50,
        10,
        0,
        150,
        "%",
    ),
    "start": Choice(
        "A start that is not near zero: why does it cost so much more inside a differential equation?",
        ("an error of the slope adds up over the day", "the solver is slower", "the prior is stronger there"),
        "an error of the slope adds up over the day",
    ),
    "spread": Choice(
        "With the network of covariates in the model, which standard deviation falls most?",
        ("all alike", "that of V", "that of SC50"),
        "that of V",
    ),
    "bands": Choice(
        "After 24 hours the copies of a patient agree on everything. Does their band hold the truth nine times in ten?",
        ("yes", "only if the model is right, and here it is not"),
        "only if the model is right, and here it is not",
    ),
}

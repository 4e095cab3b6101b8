"""What lesson 05 asks its readers to predict."""

from workshop.predictions.questions import Choice, Crosses, Question

FAULTS = (
    "nothing",
    "error: late samples are noisier",
    "shape: two phases",
    "covariate: kidneys matter",
    "random effects: two kinds of people",
)
LOOKS = (
    "PRED, IPRED",
    "CWRES by time",
    "CWRES spread",
    "NPDE, all",
    "VPC",
    "VPC in strata",
    "EBE ~ covariate",
    "draws against prior",
)

QUESTIONS: dict[str, Question] = {
    "forgot": Choice(
        "Which group forgot the weight? Decide by the two pictures.",
        ("group A", "group B"),
        "group A",
        then="If you were right, it was luck: both pictures look as they should. This lesson shows what tells.",
    ),
    "histogram": Choice(
        "Half of the subjects have one sample, half have nine, ω = σ, and the model is right. What is the histogram of "
        "all EBEs?",
        ("normal, with SD ω", "normal, with a smaller SD", "not normal: too pointed in the middle"),
        "not normal: too pointed in the middle",
    ),
    "real": Choice(
        "Which of the four studies is the real one?",
        ("the first", "the second", "the third", "the fourth"),
        "the second",
        then="The third was made by group A's model.",
    ),
    "vpc": Choice(
        "Somebody says: the VPC is fine, so the model is right. What do you answer?",
        ("agreed", "a VPC needs more simulations", "it says nothing about what it was not stratified by"),
        "it says nothing about what it was not stratified by",
    ),
    "alarms": Crosses(
        "Five studies, made with one fault each or none, all fitted with the same straight line. Tick the boxes where "
        "you expect an alarm.",
        FAULTS,
        LOOKS,
        ("........", "..x.....", ".x..xx..", ".....xx.", ".......x"),
    ),
    "draws": Choice(
        "Why is the last column of the table made with draws, and not with EBEs?",
        ("EBEs do not follow the prior even where all is right", "draws are quicker", "EBEs follow no distribution"),
        "EBEs do not follow the prior even where all is right",
    ),
}

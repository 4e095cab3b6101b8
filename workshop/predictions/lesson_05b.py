"""What lesson 05b asks its readers to predict."""

from workshop.predictions.questions import Choice, Number, Question

QUESTIONS: dict[str, Question] = {
    "heavy": Choice(
        "People have random effects with heavy tails, and the model says they are normal. Whose standard error of ω is "
        "too small?",
        ("that of the information", "that of the sandwich", "that of the bootstrap", "none of them"),
        "that of the information",
    ),
    "timid": Number(
        "You test one variance alone at 5%, with the usual cut of 3.84. In how many of 100 data sets do you reject a "
        "true zero?",
        2.5,
        0.25,
        0,
        10,
    ),
    "referee": Choice(
        "Which method will the referee place furthest from the best on theophylline?",
        ("FO", "FOCE", "Laplace", "SAEM"),
        "FO",
    ),
}

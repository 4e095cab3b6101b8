"""What lesson 12 asks its readers to predict."""

from workshop.predictions.questions import Choice, Number, Question

QUESTIONS: dict[str, Question] = {
    "tails": Choice(
        "The residuals are too peaked, and have tails. What is wrong?",
        ("the error has heavy tails, in everybody", "people are of two kinds", "this histogram cannot tell"),
        "this histogram cannot tell",
    ),
    "alike": Choice(
        "EM begins with two experts that are the same, and one share for all. Where does it end?",
        ("at two kinds: the data pull them apart", "at one kind, twice", "nowhere: it goes round in circles"),
        "at one kind, twice",
    ),
    "gate": Choice(
        "Bilirubin comes from a failing liver, albumin is made by a healthy one. Of which patients does the gate say "
        "that they will rise?",
        ("those with little albumin", "those with much albumin", "it makes no difference"),
        "those with little albumin",
    ),
    "three": Choice(
        "Three kinds in place of two, twelve parameters more. What do BIC and the patients who were put away say?",
        ("both take three", "BIC takes two, the new patients three", "both take two"),
        "both take two",
    ),
    "overruled": Number(
        "By the gate patient 15 rises with a chance of 17%. The first bilirubin is 5.5 mg/dL, where the steady have "
        "0.9 on average. With which chance after it?",
        96,
        3,
        0,
        100,
        "%",
    ),
    "apart": Number(
        "Two kinds, 56% with an SD of 1 and 44% with an SD of 0.7. How far apart must their middles be, in SDs of the "
        "first, before the smallest 95% set splits?",
        3.5,
        0.4,
        0,
        7,
        "SDs",
    ),
    "promise": Choice(
        "The model's 90% sets, for patients whom it has not seen. How many of their later measurements do they hold?",
        ("about 85%", "about 90%", "about 97%"),
        "about 85%",
    ),
    "logarithm": Choice(
        "Areas of 200 people of one kind, log-normal. How many normals does BIC find?",
        ("one", "two", "three"),
        "two",
    ),
}

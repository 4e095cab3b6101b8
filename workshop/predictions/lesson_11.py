"""What lesson 11 asks its readers to predict."""

from workshop.predictions.questions import Choice, Number, Question

QUESTIONS: dict[str, Question] = {
    "first dose": Choice(
        "Of the patient only the population is known, and too much is five times as bad as too little. Which dose?",
        ("about 70 mg", "100 mg, as for the typical person", "about 130 mg"),
        "about 70 mg",
    ),
    "when": Choice(
        "One sample can be had within a day of a first dose. When does it tell most about the area?",
        ("at the peak, at 2 h", "at 4 h", "late, from 20 h on"),
        "late, from 20 h on",
    ),
    "one at four": Number(
        "By the plug-in dose 54 of a hundred patients come within 80 to 125% without a sample. How many with one at "
        "4 h?",
        58,
        3,
        0,
        100,
    ),
    "lever": Number(
        "Where too much is five times as bad, the best dose without a sample lies 28% below the plug-in dose. By how "
        "many percent with a sample at 24 h?",
        6,
        3,
        0,
        60,
        "%",
    ),
    "cost": Choice(
        "Of people without a sample, does the dose of least expected loss bring more within the window than the "
        "plug-in dose?",
        ("more", "as many", "fewer"),
        "fewer",
    ),
    "child": Choice(
        "The trial's people weighed 50 to 97 kg. How sure of the clearance of a child of 12 kg is the fitted model?",
        ("less sure than of an adult", "as sure as of an adult", "it refuses"),
        "as sure as of an adult",
    ),
    "three times": Choice(
        "Which of them goes wrong at three times the highest dose of the trial?",
        ("unit response", "template times network", "network that reads the dose", "all three"),
        "network that reads the dose",
    ),
    "batch": Choice(
        "The same networks, the same 200 people, steps of 4 people at a time or of 32. What changes?",
        ("next to nothing", "with 32 training is steadier, and better", "with 32 all patients get the same curve"),
        "with 32 all patients get the same curve",
    ),
    "encoder": Choice(
        "An encoder, taught by the fitted model, guesses the clearances of 320 patients. How far off is its mean, "
        "in SDs of the exact posterior?",
        ("about a tenth", "about one", "about three"),
        "about a tenth",
    ),
}

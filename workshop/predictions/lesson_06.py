"""What lesson 06 asks its readers to predict."""

from workshop.predictions.questions import Choice, Question

QUESTIONS: dict[str, Question] = {
    "doubled": Choice(
        "The dose is doubled. Which of the two curves doubles?",
        ("the concentration", "the drop of the response", "both", "neither"),
        "the concentration",
    ),
    "late": Choice(
        "You measure at 8, 12 and 24 h after a tablet that is absorbed within an hour or two. What will the fit know?",
        ("ka, CL and V", "CL and V, not ka", "ka alone", "CL alone"),
        "CL and V, not ka",
    ),
    "enzyme": Choice(
        "You measure the enzyme alone, and never the drug. What can still be known, beside the baseline and k_out?",
        ("nothing", "CL/V, the shape of the drug's curve", "CL, V and IC50"),
        "CL/V, the shape of the drug's curve",
    ),
    "missing": Choice(
        "Why is a dose into a missing compartment refused, and not just left out?",
        ("a fit without it would run, and give a wrong clearance", "a fit without it would not converge"),
        "a fit without it would run, and give a wrong clearance",
    ),
}

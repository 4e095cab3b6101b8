"""What lesson 10 asks its readers to predict."""

from workshop.predictions.questions import Choice, Number, Question

_WHO = ("the linear model, clearly", "neither, by much", "the deep model, clearly")

QUESTIONS: dict[str, Question] = {
    "nearly linear": Choice(
        "Curves that are nearly linear in the random effects: which model says more of new people?", _WHO, _WHO[1]
    ),
    "bent": Choice("Curves that come earlier or later, so that the truth bends: which one now?", _WHO, _WHO[2]),
    "turns": Choice(
        "By turns: q to the posterior, then ω to the top of the bound, and so on. Where does that end?",
        ("at the top of log L", "below the top of log L", "it depends on where it began"),
        "at the top of log L",
    ),
    "leaning": Choice(
        "In a posterior intercept and slope are correlated. What are the SDs of the best q without a correlation?",
        ("too small", "right", "too large"),
        "too small",
    ),
    "lacks": Choice(
        "One network for 400 people with curves of their own. How much does its bound lack of log L, per person?",
        ("about 0.02 nats", "about 0.5 nats", "about 10 nats"),
        "about 0.02 nats",
    ),
    "chance": Choice(
        "People leave by pure chance. The mean at the end is wrong by which way?",
        ("available cases", "completers", "last value carried on", "none of them"),
        "last value carried on",
    ),
    "left": Number(
        "Now people leave after high responses. In truth the mean at the end is 4.6, the SD between people 1.25. "
        "By how much is the mean of those who are left too low?",
        0.22,
        0.08,
        0.0,
        1.5,
    ),
    "asleep": Choice(
        "Five visits at t = 0 to 4, noise 1, a diagonal q. Which random effect falls asleep?",
        ("the intercepts", "the slopes", "neither", "both"),
        "the intercepts",
    ),
    "warns": Choice(
        "When one is asleep, how large is the gap between the bound and log L?",
        ("large: that is how one notices", "there is none: the bound is tight"),
        "there is none: the bound is tight",
    ),
    "end": Choice(
        "A person was seen at 10 of 20 visits. How wide is the band of the curve's end, beside that before any?",
        ("a tenth as wide", "a third as wide", "not much narrower"),
        "not much narrower",
    ),
    "coverage": Number(
        "With 18 measurements of each person, and people who differ as much as measurements do, a standard error by "
        "the bound is 0.23 of what it should be. How many in a hundred of its 95% intervals hold the truth?",
        35,
        7,
        0,
        100,
        "%",
    ),
}

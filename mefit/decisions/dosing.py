"""A dose for one person: what each would risk, which is best, and when another sample is worth most.

From a fit and one new patient in a file to a dose with its risks, and to the best time of the next sample:

    patient = mf.Population.read_csv("patient.csv", drop_unobserved=None)  # covariates= as for the fit
    people = mf.individual(fit, patient, key=jax.random.key(1))
    goal = mf.dosing.Goal(time=np.linspace(0, 24, 97), target=(80, 125), quantity="auc")
    doses = {f"{dose} mg": mf.regimen(dose) for dose in (50, 100, 200)}
    print(mf.dosing.choose(people, doses, goal))
    print(mf.dosing.next_time(people, [1, 4, 8, 12, 24], goal, regimens=doses))

`mf.dosing.find(people, mf.regimen, (25, 400), goal, step=25)` looks for the amount itself. It is the same with any
model: a closed form, a differential equation, a network.

For teaching and research; no medical advice.
"""

from .choosing import Choice, choose
from .finding import find
from .goal import Goal
from .losses import Ceiling, Distance, Window
from .next_sample import NextSample, next_time

__all__ = ["Ceiling", "Choice", "Distance", "Goal", "NextSample", "Window", "choose", "find", "next_time"]

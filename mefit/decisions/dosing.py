"""A dose for one person: what each would risk, which is best, and when another sample is worth most.

    people = mf.individual(fit, patient, key=key)
    goal = mf.dosing.Goal(time=np.linspace(0, 24, 97), target=(80, 125), quantity="auc")
    mf.dosing.choose(people, {f"{dose} mg": mf.regimen(dose) for dose in (50, 100, 200)}, goal)
    mf.dosing.find(people, mf.regimen, (25, 400), goal, step=25)
    mf.dosing.next_time(people, [1, 4, 8, 12, 24], goal)

For teaching and research; no medical advice.
"""

from .choosing import Choice, choose
from .finding import find
from .goal import Goal
from .losses import Ceiling, Distance, Window
from .next_sample import NextSample, next_time

__all__ = ["Ceiling", "Choice", "Distance", "Goal", "NextSample", "Window", "choose", "find", "next_time"]

"""What a dose is to reach: which quantity of the curve, within which ends, and what missing them costs."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import ArrayLike, Float

from ..data.doses import Doses, joined, of_each
from ..inference.individual import Individuals
from .exposure import regimen_measures
from .losses import Ceiling, Loss, Window

Quantity = str | Callable[[np.ndarray, np.ndarray], ArrayLike]
_QUANTITIES = ("auc", "cmax", "cmin", "trough", "time_above")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Goal:
    """The aim of a dose.

        goal = mf.dosing.Goal(time=np.linspace(0, 24, 97), target=(80, 125))

    **Arguments**

    - `time`: (m,), over which the quantity is taken, first to last; fine enough for an area.
    - `target`: its two ends; None for an open one.
    - `quantity`: "auc", "cmax", "cmin", "trough" (the last value), "time_above" (the level `above`), or a function of
      times (m,) and curves (..., m) that gives (...).
    - `loss`: `Window(over=5, under=1)` unless said otherwise, an overdose being five times as bad as too little;
      `Distance`; or a function of exposures and both ends.
    - `ceilings`: limits to risks, each a `Ceiling`.
    - `above`: the level of "time_above".
    - `added`: whether doses come on top of those that a person got, on the person's own clock; else in their place.
    - `link`: from the mean E[y | theta, eta] to a concentration, such as `np.exp` for a model of logarithms. (The
      mean of a LogNormal lies a factor exp(sigma^2 / 2) above its median.)
    - `outcome`: one of several.
    - `covariates`: of covariates that change in time (a weight, an occasion) the value that holds while a dose is
      looked at. The past had others, so it goes with doses in place of those that a person got.

    **Raises:** ValueError for times or ends that cannot be, and for a quantity that is not known.
    """

    time: Any  # (m,)
    target: tuple[float | int | None, float | int | None]
    quantity: Quantity = "auc"
    loss: Loss = Window()
    ceilings: Sequence[Ceiling] = ()
    above: float | int | None = None
    added: bool = False
    link: Callable[[np.ndarray], np.ndarray] | None = None
    outcome: str | None = None
    covariates: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        t = self.grid
        if t.ndim != 1 or t.size < 2 or not (np.all(np.isfinite(t)) and np.all(np.diff(t) > 0)):
            raise ValueError("time needs two times or more, (m,), finite and rising, such as np.linspace(0, 24, 97).")
        low, high = self.ends
        if not low < high or (np.isinf(low) and np.isinf(high)):
            raise ValueError(f"the target is {self.target}: give its lower end first, and None for one that is open.")
        for name in self._named:
            if name not in _QUANTITIES or (name == "time_above" and self.above is None):
                raise ValueError(
                    f"there is no quantity {name!r}: choose one of {', '.join(_QUANTITIES)} (this with above=), or "
                    "give a function of times and curves."
                )

    @property
    def grid(self) -> Float[np.ndarray, "..."]:
        """The times as an array."""
        return np.asarray(self.time, float)

    @property
    def ends(self) -> tuple[float, float]:
        """The target, with infinity for an end that is open."""
        low = -np.inf if self.target[0] is None else float(self.target[0])
        high = np.inf if self.target[1] is None else float(self.target[1])
        return low, high

    @property
    def label(self) -> str:
        """The quantity's name."""
        return self.quantity if isinstance(self.quantity, str) else getattr(self.quantity, "__name__", "quantity")

    @property
    def _named(self) -> list[str]:
        own = [self.quantity] if isinstance(self.quantity, str) else []
        return [*own, *(ceiling.quantity for ceiling in self.ceilings)]

    def doses(self, people: Individuals, regimens: Mapping[str, Doses]) -> dict[str, list[Doses]]:
        """What each person gets under each regimen, all of one length, so that one program serves them."""
        if not regimens or not all(isinstance(doses, Doses) and doses.time.ndim == 1 for doses in regimens.values()):
            raise ValueError('regimens are doses by name, such as {"daily": mf.regimen(100, every=24, count=7)}.')
        count = len(people)
        before = of_each(people.population.subjects.doses) if self.added else [Doses.none()] * count
        everybody = []
        for doses in regimens.values():
            everybody += [joined(own, doses) if self.added else doses for own in before]
        padded = of_each(Doses.together(everybody))
        return {name: padded[turn * count : (turn + 1) * count] for turn, name in enumerate(regimens)}

    def measures(
        self, people: Individuals, doses: Sequence[Doses] | None, name: str
    ) -> dict[str, Float[np.ndarray, "N M"]]:
        """The quantity, by its label, and those of the ceilings, of each person's draws under these doses, or their
        own."""
        outcomes = people.population.outcomes
        if outcomes and self.outcome not in outcomes:
            raise ValueError(f"say which outcome= the target is for: {', '.join(outcomes)}.")
        self._refuse_change(people, doses)
        curves = people.curves(self.grid, doses, self.covariates)
        concentration = curves if self.outcome is None else curves[self.outcome]
        if self.link is not None:
            concentration = np.asarray(self.link(concentration))
        if not np.all(np.isfinite(concentration)):
            raise ValueError(f"{name}: not all curves are finite; look at its compartments, or the solver.")
        known = regimen_measures(self.grid, concentration, self.above)
        measures = {name: np.asarray(known[name]) for name in self._named}
        if not isinstance(self.quantity, str):
            own = np.asarray(self.quantity(self.grid, concentration), float)
            if own.shape != concentration.shape[:-1]:
                raise ValueError(
                    f"the quantity {self.label} has shape {own.shape}: it must give one number for each curve, "
                    f"{concentration.shape[:-1]}."
                )
            measures[self.label] = own
        return measures

    def _refuse_change(self, people: Individuals, doses: Any) -> None:
        """ValueError for covariates that change in time, where it is not said what they will be, or what they were."""
        varying = [name for name, x in people.population.subjects.covariates.items() if x.ndim == 2]
        if not varying:
            return
        if self.added or doses is None:
            raise ValueError(
                f"covariate {varying[0]} changes in time, and a curve under doses that a person got hangs on what it "
                "was between the rows: ask for doses in place of them (added=False); for the next sample, give people "
                "whose covariates are constant."
            )
        if self.covariates is None or not set(varying) <= self.covariates.keys():
            raise ValueError(
                f"covariate {varying[0]} changes in time: say what it will be under the new doses, "
                f"covariates={{{varying[0]!r}: ...}} of the Goal."
            )

    def costs(self, exposure: Float[np.ndarray, "*N M"]) -> Float[np.ndarray, "*N M"]:
        """The loss of each draw."""
        return np.asarray(self.loss(exposure, *self.ends), float)

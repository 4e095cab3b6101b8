"""SAEM played step by step: every parameter against the iteration, beside the exact optimum.

A run takes MOST iterations of one chain, without stopping early: gamma = 1 up to where the smoothing starts, then 1/k.
It is computed by `SAEM` when its kernel, seed and schedule are chosen for the first time, and kept;
the slider of iterations only shows more or less of it.
"""

import functools
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

import mefit as mf
from mefit.base.progress import progress_line
from mefit.objectives.objective import Objective
from workshop.explorers.controls import Choice, Control, Refused, Slider, Switch
from workshop.explorers.scene import Axis, Drag, Line, Mark, Panel, Rule, Scene
from workshop.explorers.stage import Stage

MOST = 400
PRIOR, WALK, LAPLACE = "prior", "random walk", "Laplace (f-SAEM)"
KERNELS: dict[str, mf.PriorProposal | mf.RandomWalk | mf.LaplaceProposal] = {
    PRIOR: mf.PriorProposal(),
    WALK: mf.RandomWalk(),
    LAPLACE: mf.LaplaceProposal(),
}
SMOOTHING = ("50", "100", "200", "never")
SEEDS = ("1", "2", "3", "4")
_MOST_PANELS = 11
_EVERY = 2
_REACH = 3.5  # of a panel to either side of the exact optimum, in standard errors


@dataclass(frozen=True)
class Study:
    """What is fitted: the model at its start, the population, and the exact fit that SAEM should come to."""

    exact: mf.Fit
    start: mf.Model
    names: tuple[str, ...]
    truth: np.ndarray
    """(P,) the numbers of the table at the exact optimum."""
    error: np.ndarray
    """(P,) their standard errors."""
    units: Mapping[str, str]


def prepare(exact: mf.Fit, start: mf.Model | None = None) -> Study:
    """The study of a fit. SAEM starts from where that fit started, unless told otherwise."""
    table = exact.table
    names = tuple(str(name) for name in table.index)
    if len(names) > _MOST_PANELS:
        raise ValueError(f"This explorer has room for {_MOST_PANELS} numbers, and the model has {len(names)}.")
    truth, error = (table[column].to_numpy(float) for column in ("estimate", "se"))
    units = {str(name): str(unit) for name, unit in table["unit"].items()}
    return Study(exact, start or exact.history[0].model, names, truth, error, units)


@functools.lru_cache(maxsize=256)
def run(study: "_ByIdentity", kernel: str, seed: str, smoothing: str, annealing: bool) -> tuple[np.ndarray, np.ndarray]:
    """Trajectory (MOST + 1, P) of the numbers of the table, and share of the proposals taken (MOST,)."""
    explored = MOST if smoothing == "never" else int(smoothing)
    exact: Any = study.value.exact
    method = mf.SAEM(
        chains=1,
        exploration=explored,
        smoothing=max(MOST - explored, 1),
        kernels=(KERNELS[kernel],),
        annealing=0.97 if annealing else 0.0,
        stop_early=False,
        likelihood_by=exact.method,  # compiled already
    )
    fit = mf.fit(study.value.start, exact.population, method, key=jax.random.key(int(seed)), progress=False)
    run: Any = fit.saem
    trajectory = run.trajectory.to_numpy(float)
    acceptance = run.acceptance.to_numpy(float)
    if len(trajectory) <= MOST:
        raise Refused(f"SAEM {fit.message}.")
    return trajectory[: MOST + 1], acceptance[:MOST, 0]


@dataclass(frozen=True)
class _ByIdentity:
    """A study as a key of the memory: what it holds cannot be hashed."""

    value: Study

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByIdentity) and other.value is self.value


@dataclass(frozen=True)
class Played:
    """A run up to `iterations`; `explored` is the last iteration with gamma = 1, `trajectory` (MOST + 1, P)."""

    names: tuple[str, ...]
    truth: np.ndarray
    iterations: int
    explored: int
    trajectory: np.ndarray
    acceptance: np.ndarray
    """(MOST,)"""
    error: np.ndarray
    """(P,) standard errors at the exact optimum."""
    off: np.ndarray
    """(P,) distance from the exact optimum at `iterations`, in its standard errors."""
    units: Mapping[str, str]


def compute(
    study: Study,
    iterations: int,
    kernel: str = LAPLACE,
    seed: str = "1",
    smoothing: str = "200",
    annealing: bool = True,
) -> Played:
    """The run that was chosen, and where it stands after so many iterations."""
    if not 0 <= iterations <= MOST:
        raise Refused(f"A run has {MOST} iterations, so choose 0 to {MOST} of them, not {iterations}.")
    trajectory, acceptance = run(_ByIdentity(study), kernel, seed, smoothing, annealing)
    explored = MOST if smoothing == "never" else int(smoothing)
    off = (trajectory[iterations] - study.truth) / study.error
    return Played(study.names, study.truth, iterations, explored, trajectory, acceptance, study.error, off, study.units)


def say(found: Played) -> str:
    k = found.iterations
    if k == 0:
        return "Before the first iteration: the starting values. Move the slider, or press play."
    phase = "exploring, γ = 1" if k <= found.explored else f"smoothing, γ = 1/{k - found.explored}"
    worst = int(np.argmax(np.abs(found.off)))
    return (
        f"Iteration {k}: {phase}. Furthest off is {found.names[worst]}, by {abs(found.off[worst]):.2g} of its standard "
        f"errors.\n{found.acceptance[:k].mean():.0%} of the proposals so far were accepted; {found.names[worst]} is "
        f"{found.trajectory[k, worst]:.4g} in place of {found.truth[worst]:.4g}."
    )


def scene(found: Played) -> Scene:
    panels: dict[str, Panel] = {}
    marks: list[Mark] = []
    columns = _columns(len(found.names) + 1)
    everything = np.arange(MOST + 1)
    # Panels are too small for more than every second iteration of a long run; the last one is always there.
    shown = np.unique(np.append(everything[: found.iterations + 1 : _EVERY], found.iterations))
    for place, name in enumerate(found.names):
        panel, first = f"p{place}", place == 0
        unit = found.units.get(name, "")
        title = f"{name} ({unit})" if unit else name
        middle, reach = found.truth[place], _REACH * found.error[place]
        value = Axis(middle - reach, middle + reach, ticks=[(middle, f"{middle:.3g}")])
        panels[panel] = Panel(_iterations("iteration" if place >= columns else ""), value, title)
        labels = ("exact optimum, in the middle", "SAEM, one draw per subject") if first else ("", "")
        marks += [
            Rule(panel, "exact", "truth", "y", middle, labels[0], weight="thin"),
            *_phases(panel, found, "smoothing begins" if first else ""),
            Line(panel, "run", "SAEM", shown, found.trajectory[shown, place], labels[1], ghost=True),
            Rule(panel, "now", "individual", "x", found.iterations, drag=Drag(x="iterations"), weight="thin"),
        ]
    panels["accepted"] = Panel(_iterations("iteration"), Axis(0, 1, ticks=(0, 0.5, 1)), "share accepted")
    after = shown[shown > 0]
    marks += [
        *_phases("accepted", found, ""),
        Line("accepted", "share", "SAEM", after, found.acceptance[after - 1], ghost=True),
        Rule("accepted", "now", "individual", "x", found.iterations, drag=Drag(x="iterations"), weight="thin"),
    ]
    return Scene(panels, marks)


def _columns(panels: int) -> int:
    return min(4 if panels <= 8 else 6, panels)


def _iterations(label: str) -> Axis:
    return Axis(0, MOST, label, ticks=(0, 200, 400))


def _phases(panel: str, found: Played, label: str) -> list[Mark]:
    """Where the smoothing begins, if it does."""
    at = found.explored if found.explored < MOST else np.nan
    return [Rule(panel, "smoothing begins", "guide", "x", at, label, weight="thin")]


def saem_step_by_step(fit: mf.Fit, start: mf.Model | None = None) -> Stage:
    """The explorer of lesson 04, for any fit whose optimum is to be believed, such as one by `AGQ`.

    Raises ValueError for a fit by a method that has no likelihood of theta to maximise.

    **Arguments:**

    - `fit`: the exact fit; its model, population and starting values are SAEM's too.
    - `start`: the model at other starting values.
    """
    study = prepare(fit, start)
    if not isinstance(fit.method, Objective):
        raise ValueError(f"{fit.method.label} has no maximum to compare SAEM with: give a fit by AGQ or Laplace.")
    first = inspect.signature(compute).parameters
    seed, smoothing, annealing = (first[name].default for name in ("seed", "smoothing", "annealing"))
    with progress_line("Compiling SAEM, once for each kernel", len(KERNELS)) as bar:
        for kernel in KERNELS:
            run(_ByIdentity(study), kernel, seed, smoothing, annealing)
            bar.update()
    controls: dict[str, Control] = {
        "iterations": Slider("Iterations", 0, MOST, 300, 1, play=True),
        "kernel": Choice("Draws proposed by", tuple(KERNELS), LAPLACE),
        "seed": Choice("Seed", SEEDS, seed),
        "smoothing": Choice("Smoothing starts at", SMOOTHING, smoothing),
        "annealing": Switch("Annealing, 3% per iteration", annealing),
    }
    alt = (
        "A small panel for each parameter: its value in SAEM against the iteration, with the exact optimum in the "
        "middle, and where the smoothing starts. The last panel shows the share of proposals that were accepted."
    )
    names = [*(f"p{place}" for place in range(len(study.names))), "accepted"]
    columns = _columns(len(names))
    names += ["."] * (-len(names) % columns)
    return Stage(
        functools.partial(compute, study),
        scene,
        say,
        controls,
        alt=alt,
        layout=[" ".join(names[k : k + columns]) for k in range(0, len(names), columns)],
        size=(940, 420),
        tries=[
            ("back to the start", {"iterations": 0}),
            ("to the end", {"iterations": MOST}),
            ("never average", {"smoothing": "never", "iterations": MOST}),
            ("no annealing", {"annealing": False, "iterations": 60}),
            ("walk, seed 1", {"kernel": WALK, "seed": "1", "iterations": MOST}),
        ],
    )

"""SAEM played step by step: every parameter against the iteration, beside the exact optimum.

A run takes MOST iterations of one chain, without stopping early: gamma = 1 up to where the smoothing starts, then 1/k.
It is computed by `SAEM` when its kernel, seed and schedule are chosen for the first time, and kept;
the slider of iterations only shows more or less of it.
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

import mefit as mf
from mefit import style
from mefit.base.progress import progress_line
from mefit.objectives.objective import Objective
from workshop.explorers.panel import Choice, Control, Explorer, Refused, Slider, Switch

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


def prepare(exact: mf.Fit, start: mf.Model | None = None) -> Study:
    """The study of a fit. SAEM starts from where that fit started, unless told otherwise."""
    table = exact.table
    names = tuple(str(name) for name in table.index)
    if len(names) > _MOST_PANELS:
        raise ValueError(f"This explorer has room for {_MOST_PANELS} numbers, and the model has {len(names)}.")
    truth, error = (table[column].to_numpy(float) for column in ("estimate", "se"))
    return Study(exact, start or exact.history[0].model, names, truth, error)


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
    off: np.ndarray
    """(P,) distance from the exact optimum at `iterations`, in its standard errors."""


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
    return Played(study.names, study.truth, iterations, explored, trajectory, acceptance, off)


def say(found: Played) -> str:
    k = found.iterations
    if k == 0:
        return "Before the first iteration: the starting values. Move the slider, or press play."
    phase = "exploring, γ = 1" if k <= found.explored else f"smoothing, γ = 1/{k - found.explored}"
    worst = int(np.argmax(np.abs(found.off)))
    return (
        f"Iteration {k}: {phase}; {found.acceptance[:k].mean():.0%} of the proposals so far were accepted. Furthest "
        f"off is {found.names[worst]}, {found.trajectory[k, worst]:.4g} in place of {found.truth[worst]:.4g}: "
        f"{abs(found.off[worst]):.2f} of its standard errors."
    )


def paint(study: Study, picture: style.Picture, found: Played) -> Callable[[Played], None]:
    columns = 4 if len(study.names) <= 7 else 6
    grid = picture.add_gridspec(2, columns, left=0.02, right=0.98, top=0.83, bottom=0.09, hspace=0.28, wspace=0.12)
    time, lines, marks = np.arange(MOST + 1), [], []
    for place, name in enumerate((*study.names, "accepted")):
        axes = picture.add_subplot(grid[place // columns, place % columns], xlim=(0, MOST), yticks=[], xticks=[])
        last = place == len(study.names)
        said = "share accepted, 0 to 1" if last else f"{name}, exact {study.truth[place]:.3g}"
        axes.set_title(said, fontsize=12, loc="left", y=1.0, fontweight="normal")
        if place == columns:
            axes.set_xticks([0, MOST])
            axes.set_xlabel("iteration", fontsize=12, labelpad=-13)
        lines += axes.plot(
            [], [], **style.LINE["prior" if last else "population"] | {"linewidth": 1.6, "linestyle": "-"}
        )
        marks.append(axes.axvline(0, color="#999999", linewidth=1.2, zorder=1))
        if last:
            axes.set_ylim(0, 1)
            continue
        axes.set_ylim(*(study.truth[place] + _REACH * np.array([-1, 1]) * study.error[place]))
        axes.axhline(study.truth[place], **style.LINE["truth"] | {"linewidth": 1.6})
    handles = [lines[0], picture.axes[0].get_lines()[-1], marks[0]]
    labels = ["SAEM", f"exact optimum (each panel: ±{_REACH:g} standard errors)", "γ = 1 before, 1/k after"]
    picture.legend(handles, labels, loc="upper left", bbox_to_anchor=(0.0, 1.0), ncols=3, columnspacing=1.2)

    def update(found: Played) -> None:
        shown = slice(0, found.iterations + 1)
        for line, values in zip(lines, found.trajectory.T, strict=False):
            line.set_data(time[shown], values[shown])
        lines[-1].set_data(time[1:][: found.iterations], found.acceptance[: found.iterations])
        for mark in marks:
            mark.set_xdata([found.explored] * 2)
            mark.set_visible(found.explored < MOST)

    update(found)
    return update


def saem_step_by_step(fit: mf.Fit, start: mf.Model | None = None) -> Explorer:
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
        "annealing": Switch("Annealing, 3% an iteration", annealing),
    }
    alt = (
        "A small panel for each parameter: its value in SAEM against the iteration, with the exact optimum as a dashed "
        "line, and where the smoothing starts. The last panel shows the share of proposals that were accepted."
    )
    return Explorer(
        functools.partial(compute, study),
        functools.partial(paint, study),
        say,
        controls,
        alt=alt,
        width=900,
        height=440,
    )

"""Pictures for one person: what each dose risks, and what the next sample is worth."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ..decisions.choosing import Choice
from ..decisions.next_sample import NextSample
from . import style

_PARTS = (("below", "prior", ""), ("inside", "posterior", ""), ("above", "joint", "///"))
_MOST = 6  # people in a picture


def doses(choice: Choice, axes: list[Axes] | None = None) -> list[Axes]:
    """For each person, regimen by regimen, the shares below, inside and above the target, and under them the expected
    loss; the chosen one has a triangle, and an open circle is a guess beyond the fit."""
    people = list(choice.chosen)[:_MOST]
    chosen = "; ".join(f"{person} gets {choice.chosen[person] or 'none'}" for person in people)
    most = max(float(choice.table.loss.max()), 1e-12)
    alt = f"Risks of {len(choice.regimens)} regimens for {len(people)} people: {chosen}."
    with style.drawing(
        axes, alt, 2 * len(people), max(520, 330 * len(people)), 520, 2, sharex="col", sharey="row"
    ) as panels:
        for place, person in enumerate(people):
            top = panels[place]
            bottom = panels[len(people) + place]
            own = choice.table[choice.table.ID == person]
            at = np.arange(len(own))
            floor = np.zeros(len(own))
            for part, meaning, hatch in _PARTS:
                share = own[part].to_numpy()
                look: Any = {"color": style.COLOUR[meaning], "alpha": 0.75, "edgecolor": "white", "linewidth": 0.6}
                top.bar(at, share, bottom=floor, hatch=hatch, label=part, **look)
                floor = floor + share
            top.set(title=f"person {person}", ylim=(0, 1), ylabel="share of the posterior" if place == 0 else "")
            _losses(bottom, own, choice.chosen[person])
            bottom.set(xlabel="regimen", ylabel="expected loss" if place == 0 else "", ylim=(0, 1.15 * most))
            bottom.set_xticks(at, own.regimen, rotation=45, ha="right", rotation_mode="anchor")
        if axes is None:  # beside the panels, so that none of them is made narrower
            handles, labels = panels[0].get_legend_handles_labels()
            panels[0].figure.legend(handles, labels, loc="outside upper left", ncols=3)
        else:
            panels[0].legend()
        return panels


def _losses(ax: Axes, own: pd.DataFrame, chosen: str | None) -> None:
    loss = own.loss.to_numpy()
    at = np.arange(len(own))
    guess = (own.beyond != "").to_numpy()
    ax.plot(at, loss, **(style.LINE["posterior"] | {"linewidth": 1.2}))
    ax.plot(at[~guess], loss[~guess], **style.POINT["data"])
    ax.plot(at[guess], loss[guess], **(style.POINT["data"] | {"color": "white", "markeredgecolor": "black"}))
    best = (own.regimen == chosen).to_numpy()
    lifted = loss[best] + 0.09 * loss.max()  # so that it points at the dot
    ax.plot(at[best], lifted, **(style.POINT["posterior"] | {"markersize": 11}))


def next_sample(result: NextSample, axes: list[Axes] | None = None) -> list[Axes]:
    """For each person the expected loss, or the expected SD, after a sample at each time; the line across is what is
    known without. Of two samples, the two times are the sides, and the darker the better."""
    by = "loss" if "loss" in result.table else "sd"
    label = {"loss": "expected loss", "sd": "expected SD of the log quantity"}[by]
    people = list(result.best)[:_MOST]
    told = "; ".join(f"{p}: {' and '.join(f'{t:g}' for t in result.best[p]) or 'none'}" for p in people)
    alt = f"The best time of the next sample, by {label}: {told}."
    with style.drawing(axes, alt, len(people), max(520, 330 * len(people)), 380, sharey=True) as panels:
        for ax, person in zip(panels, people, strict=True):
            own = result.table[result.table.ID == person]
            planned = own[own.times != ()]
            if len(planned.times.iloc[0]) == 1:
                time = np.array([times[0] for times in planned.times])
                ax.plot(time, planned[by], **(style.LINE["posterior"] | {"marker": "o", "linewidth": 1.6}))
                ax.axhline(own[by].iloc[0], **style.LINE["prior"], label="without a sample")
                ax.set(xlabel=f"next sample: {result.time_label}", ylim=(0, None))
            else:
                _two_ahead(ax, planned, by, label, result.time_label)
            _mark(ax, result.best[person], own, by)
            ax.set(title=f"person {person}")
        panels[0].set_ylabel(label if len(planned.times.iloc[0]) == 1 else f"second sample: {result.time_label}")
        return panels


def _two_ahead(ax: Axes, planned: pd.DataFrame, by: str, label: str, time_label: str) -> None:
    first = np.array([times[0] for times in planned.times])
    second = np.array([times[1] for times in planned.times])
    dots = ax.scatter(first, second, c=planned[by], cmap="viridis", s=160, marker="s")
    ax.set(xlabel=f"first sample: {time_label}")
    ax.margins(0.12)
    ax.figure.colorbar(dots, ax=ax, label=label)


def _mark(ax: Axes, best: tuple[float, ...], own: pd.DataFrame, by: str) -> None:
    if len(best) == 1:
        value = own[by][[times == best for times in own.times]].iloc[0]
        ax.plot(best[0], value, **(style.POINT["posterior"] | {"markersize": 13}), label="best")
        ax.legend()
    elif len(best) == 2:
        ax.plot(*best, **(style.POINT["joint"] | {"markersize": 9}))

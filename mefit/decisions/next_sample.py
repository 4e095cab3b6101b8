"""When another sample is worth most: what would be known of a person after it, on average over what it may show."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float, PRNGKeyArray

from ..base.compiling import compiled
from ..data.changing import with_room
from ..data.doses import Doses
from ..data.subject import Subject
from ..inference.individual import Individuals
from ..model.densities import log_conditional
from ..model.model import Model, model_at
from ..model.predict import on_grid
from ..model.simulate import respond
from .beyond import times_beyond
from .goal import Goal

_FEWEST = 20.0  # draws in effect: of fewer a posterior looks narrower than it is


@dataclasses.dataclass(frozen=True)
class NextSample:
    """What each time, or pair of times, of the next sample would bring.

    `table` has a row for each person and schedule, the first of each person without a sample: the times; `sd`, the
    expected posterior SD of the quantity's logarithm (of itself where it may be 0 or below); with regimens `loss`, the
    expected loss of the regimen that would then be chosen, cost included; `draws` that the answer rests on; and in
    `beyond` why it is a guess. `best` gives the times of each person, () where no sample is worth its cost.
    """

    table: pd.DataFrame
    best: dict[Any, tuple[float, ...]]
    remarks: tuple[str, ...] = ()
    time_label: str = "time"

    def __repr__(self) -> str:
        told = [f"{person}: {', '.join(f'{t:g}' for t in times) or 'none'}" for person, times in self.best.items()]
        return "\n".join([self.table.to_string(index=False), "best: " + "; ".join(told), *self.remarks])

    def _repr_html_(self) -> str:
        best = [self.best[row.ID] == row.times for row in self.table.itertuples()]
        shown = self.table.assign(best=np.where(best, "\u2713", ""))
        remarks = "".join(f"<p>{remark}</p>" for remark in self.remarks)
        return shown.to_html(index=False, border=0, float_format="{:.3g}".format) + remarks


def next_time(
    people: Individuals,
    times: Sequence[float | int],
    goal: Goal,
    *,
    ahead: int = 1,
    regimens: Mapping[str, Doses] | None = None,
    cost: float | int = 0.0,
    outcomes: int = 100,
    key: PRNGKeyArray | None = None,
) -> NextSample:
    """The best time of the next sample of each of `people`, by what would be known of the goal's quantity after it.

    A sample y at time t is simulated from `outcomes` of a person's draws eta_r, and all M draws are weighed by it,
    w_rm = p(y_r | eta_m, t) / sum_m p(y_r | eta_m, t). Expected are, over r, the SD of the quantity's logarithm by
    these weights; and with `regimens` the loss of the regimen that is then best, min_d sum_m w_rm loss(q_m(d)), plus
    `cost` for each sample. No fit is repeated, so this serves every model; the new responses are taken to be
    independent of the old ones given eta.

    **Arguments**

    - `people`: from `mf.individual`; 1,000 draws or more are well spent. Their doses are those that they got, or are to
      get before the sample.
    - `times`: the times that can be had, later than what was seen as a rule; two samples at one time are not looked at.
      Of several outcomes all are measured; a response to come is never censored.
    - `goal`: the quantity is that of `goal.time` under each person's own doses; `regimens` are judged as in `choose`.
    - `ahead`: how many samples to plan together, 1 or 2.
    - `cost`: of a sample, in units of the loss.

    **Returns:** a `NextSample`.

    **Raises:** ValueError for no times, or more samples ahead than two or than there are times, for covariates that
    change in time, and as `choose`.
    Source: Ryan et al. (2016), Int. Stat. Rev. 84, 3.3.
    """
    schedules = _schedules(times, ahead)
    if outcomes < 1:
        raise ValueError(f"next_time needs one simulated sample or more, and got outcomes={outcomes}.")
    count = len(people)
    draws = people.eta.shape[1]
    quantity = goal.measures(people, None, "the person's own doses")[goal.label]
    if np.all(quantity > 0.0):
        quantity = np.log(quantity)
    losses = _losses(people, regimens, goal)
    drawn = people.key if key is None else key
    turns = np.linspace(0, draws - 1, min(outcomes, draws)).round().astype(int)
    looked = []
    for j, schedule in enumerate(schedules):  # one program serves them all, however many there are
        planned = with_room(on_grid(people.population, jnp.asarray(schedule)), rows=False)
        keys = jax.random.split(jax.random.fold_in(drawn, j), count)
        given = (people.eta, planned, quantity, losses, turns, keys)
        looked.append(jax.tree.map(np.asarray, _after(people.models_drawn, people.theta, *given)))
    fitted = people.fitted_on
    rows = []
    for i, person in enumerate(people.population.ids):
        nothing = {"ID": person, "times": (), "sd": float(quantity[i].std()), "draws": float(draws), "beyond": ""}
        rows.append(nothing | ({} if regimens is None else {"loss": float(losses[i].mean(axis=0).min())}))
        for j, schedule in enumerate(schedules):
            late = "" if fitted is None else times_beyond(fitted, np.asarray(schedule))
            told = looked[j]
            row = {"ID": person, "times": schedule, "sd": float(told[0][i]), "draws": float(told[1][i]), "beyond": late}
            rows.append(row | ({} if regimens is None else {"loss": float(told[2][i]) + cost * len(schedule)}))
    table = pd.DataFrame(rows)
    by = "sd" if regimens is None else "loss"
    least = table.loc[table.groupby("ID", sort=False)[by].idxmin()]
    best = dict(zip(least.ID, least.times, strict=True))
    label = people.population.time_label
    return NextSample(table=table, best=best, remarks=_remarks(people, table), time_label=label)


def _schedules(times: Sequence[float | int], ahead: int) -> list[tuple[float, ...]]:
    given = sorted({float(t) for t in times})
    if not given or not np.all(np.isfinite(given)):
        raise ValueError("next_time needs one time or more at which a sample can be had, and all of them finite.")
    if ahead not in (1, 2) or ahead > len(given):
        raise ValueError(f"next_time plans 1 or 2 samples ahead, and got ahead={ahead} with {len(given)} times.")
    return list(itertools.combinations(given, ahead))


def _losses(people: Individuals, regimens: Mapping[str, Doses] | None, goal: Goal) -> Float[np.ndarray, "N M D"]:
    """The loss of each regimen for each draw of each person; of none, where no regimens are asked for."""
    if regimens is None:
        return np.zeros((*people.eta.shape[:2], 0))
    by_regimen = []
    for name, doses in goal.doses(people, regimens).items():
        by_regimen.append(goal.costs(goal.measures(people, doses, f"regimen {name}")[goal.label]))
    return np.stack(by_regimen, axis=-1)


def _remarks(people: Individuals, table: pd.DataFrame) -> tuple[str, ...]:
    remarks = [*people.remarks]
    few = table.loc[table.draws < _FEWEST, "ID"].unique()
    if few.size:
        remarks.append(
            f"a sample would tell more of {', '.join(map(str, few[:5]))} than {people.eta.shape[1]} draws can show: "
            "take more draws in mf.individual."
        )
    if np.any(table.beyond != ""):
        remarks.append("times beyond those of the fit are guesses: there a model is surer than it has reason to be.")
    return tuple(remarks)


@compiled
def _after(
    models: Model,
    theta: Any,
    eta: Float[Array, "N M K"],
    subjects: Subject,
    quantity: Float[Array, "N M"],
    losses: Float[Array, "N M D"],
    turns: Array,
    keys: Array,
) -> tuple[Array, Array, Array]:
    """For each person, after samples at the rows of `subjects`, expected SD, draws in effect, least expected loss."""

    def of_person(one):
        own_theta, etas, subject, own_quantity, own_losses, key = one
        weights = _weights(models, own_theta, etas, subject, turns, key)
        mean = weights @ own_quantity
        variance = jnp.maximum(weights @ own_quantity**2 - mean**2, 0.0)
        draws = jnp.mean(1.0 / jnp.sum(weights**2, axis=1))
        loss = jnp.mean(jnp.min(weights @ own_losses, axis=1, initial=jnp.inf))
        return jnp.mean(jnp.sqrt(variance)), draws, loss

    return jax.lax.map(of_person, (theta, eta, subjects, quantity, losses, keys))


def _weights(
    models: Model, theta: Any, etas: Float[Array, "M K"], subject: Subject, turns: Array, key: Any
) -> Float[Array, "R M"]:
    """What each draw counts after a response of each of those at the R `turns`."""

    def responded(turn, eta, key):
        return respond(model_at(models, turn), eta, subject, key)

    def log_p(response):
        seen = dataclasses.replace(subject, y=response)
        return jax.vmap(lambda turn, eta: log_conditional(model_at(models, turn), eta, seen))(theta, etas)

    true = None if theta is None else theta[turns]
    y = jax.vmap(responded)(true, etas[turns], jax.random.split(key, len(turns)))
    return jax.nn.softmax(jax.vmap(log_p)(y), axis=1)

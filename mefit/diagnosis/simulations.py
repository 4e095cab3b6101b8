"""Responses simulated from a fit."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from ..base.compiling import compiled_for_devices
from ..base.dealing import dealt_out
from ..base.devices import mesh_of
from ..base.stopping import Bar
from ..data.population import Population
from ..data.subject import Subject
from ..fitting.about import check, typical
from ..fitting.result import Fit
from ..model.model import Model
from ..model.pitfalls import refuse_new_responses
from ..model.simulate import new_people
from ..objectives.objective import name_subjects

_BLOCK = 50  # data sets simulated at once
_ROWS_THAT_PAY = 50_000  # simulated at once, for each device


def simulations(
    fit: Fit,
    samples: int,
    key: Any,
    posterior: bool = False,
    population: Population | None = None,
    fewer: bool = False,
) -> Float[np.ndarray, "S N n"]:
    """Responses of the fitted subjects, or of those of another `population`.

    Number s is `simulate(model, population, split(key, samples)[s])`: with new random effects, and,
    where `posterior`, at another draw of theta.
    Interrupted, it raises KeyboardInterrupt, saying how far it came; or, where `fewer` will do, it
    returns the samples that are done.
    ValueError for fewer than two samples, and as `check` has it.
    """
    check(fit, False, key, population)
    if samples < 2:
        raise ValueError(f"{samples} simulated data sets do not make a distribution: take hundreds.")
    people = fit.population if population is None else population
    refuse_new_responses(fit.model, people)
    subjects = people.subjects
    keys = jax.random.split(key, samples)
    models = fit.model
    turns = None
    if posterior and fit.draws is not None:
        models = fit.draws.models
        order = np.asarray(jax.random.permutation(key, len(fit.draws)))
        turns = np.resize(order, (samples,))
    done: list[np.ndarray] = []
    mesh = mesh_of(_BLOCK * subjects.time.size, _ROWS_THAT_PAY)
    with Bar("simulating", total=samples, delay=1.0) as bar:
        try:
            for begin in range(0, samples, _BLOCK):
                block = np.minimum(begin + np.arange(_BLOCK), samples - 1)  # filled up with the last
                block_turns = None if turns is None else turns[block]
                done.append(np.asarray(_replicates(mesh, models, subjects, keys[block], block_turns, typical(fit))))
                bar.update(min(_BLOCK, samples - begin))
        except KeyboardInterrupt:
            if not (fewer and done):
                came = f"{len(done) * _BLOCK} of {samples} simulated data sets were done"
                raise KeyboardInterrupt(f"interrupted: {came}, which is no result yet") from None
    simulated = np.concatenate(done)[:samples]
    lost = np.any(np.isnan(simulated) & np.asarray(subjects.mask), axis=(0, 2))
    if np.any(lost):
        who = name_subjects(fit.population if population is None else population, lost)
        raise ValueError(
            f"what is simulated for {who} is not a number: look at its data, and at what the model makes of them."
        )
    return simulated


@compiled_for_devices
def _replicates(mesh: Any, models: Model, subjects: Subject, keys: Any, turns: Array | None, at_mean: bool) -> Array:
    """A data set (N, n) of each key, from the model or from the draw of this turn."""

    def share(known: Any, drawn: Any) -> Array:
        models, subjects = known

        def replicate(key: Any, turn: Any) -> Any:
            key_effects, key_responses = jax.random.split(key)
            return new_people(models, turn, subjects, key_effects, key_responses, at_mean=at_mean)

        return jax.vmap(replicate)(*drawn)

    simulated: Array = dealt_out(mesh, share, (models, subjects), (keys, turns))
    return simulated

"""Populations of which each process has read a part, put together in all of them."""

import pickle
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import numpy as np

from ..base.processes import gathered
from .by_outcome import as_dict, as_given
from .doses import DOSE, USUAL, Doses, dose_field
from .population import Population
from .subject import Subject
from .written import Notes


def distribute(population: Population) -> Population:
    """The subjects that all processes have read, those of the first process first: the same population in each.

        mf.connect()
        part = mf.Population.read_csv(f"part_{jax.process_index()}.csv")
        population = mf.distribute(part)
        fit = mf.fit(model, population, mf.FOCE(), devices="all")

    So each process reads a part of the data, which is what takes long, and every number that is computed of the
    population afterwards is that of all subjects. What they hold is exchanged by JAX. Every process must call it.
    In a process that is alone it returns the population itself.

    **Raises:** ValueError, in every process, where an id comes twice, or the parts have other covariates or outcomes;
    ProcessLost where one of them is gone.
    """
    if jax.process_count() == 1:
        return population
    local = jax.tree.map(np.asarray, population.subjects)
    doses = {name: dose_field(population.subjects.doses, name) for name in DOSE}
    labels = (population.time_label, population.y_label)
    content = gathered(pickle.dumps((local, doses, population.ids, population.notes, labels)))
    parts, given, ids, notes, names = zip(*(pickle.loads(one) for one in content), strict=True)
    _refuse_repeated(ids)
    _refuse_unlike(parts)
    return Population(
        _joined(parts, _doses(given)),
        tuple(id for some in ids for id in some),
        time_label=names[0][0],
        y_label=names[0][1],
        notes=Notes(tuple(dict.fromkeys(note for some in notes for note in some))),
    )


def _refuse_repeated(ids: Sequence[tuple]) -> None:
    first: dict[Any, int] = {}
    for number, some in enumerate(ids):
        for id in some:
            if id in first:
                raise ValueError(
                    f"subject {id} was read by process {first[id]} and by process {number}: let each read a part of "
                    "its own; where all of them read the same data there is nothing to distribute."
                )
            first[id] = number


def _refuse_unlike(parts: Sequence[Subject]) -> None:
    for number, part in enumerate(parts):
        for kind, mine, theirs in (
            ("covariates", part.covariates, parts[0].covariates),
            ("outcomes", as_dict(part.y), as_dict(parts[0].y)),
        ):
            if sorted(mine) != sorted(theirs):
                raise ValueError(
                    f"the part of process {number} has the {kind} {sorted(mine)} and that of process 0 has "
                    f"{sorted(theirs)}: let all of them read the same columns."
                )


def _joined(parts: Sequence[Subject], doses: Doses) -> Subject:
    """The subjects of the parts, their rows filled up as those of a population are."""
    censoring = any(part.censored is not None for part in parts)
    fields = ("y", "mask", "censored", "limit") if censoring else ("y", "mask")
    by_outcome: dict[str, Any] = {}
    for field in fields:
        found: set[str] = set().union(*(as_dict(getattr(part, field)) for part in parts))
        names = sorted(found)
        by_outcome[field] = as_given({name: _wide([_or_zeros(part, field, name) for part in parts]) for name in names})
    covariates: dict[str, Any] = {}
    for name in sorted(parts[0].covariates):
        given: list[Any] = [part.covariates[name] for part in parts]
        if any(values.ndim > 1 for values in given):
            rows = [part.time.shape for part in parts]
            given = [x if x.ndim > 1 else np.broadcast_to(x[:, None], of) for x, of in zip(given, rows, strict=True)]
            covariates[name] = _wide(given, last=True)
        else:
            covariates[name] = np.concatenate(given)
    return Subject(
        time=_wide([part.time for part in parts], last=True),
        real=_wide([part.real for part in parts]),
        covariates=covariates,
        doses=doses,
        **by_outcome,
    )


def _or_zeros(part: Subject, field: str, name: str) -> Any:
    """A field of an outcome; nothing censored, where nothing is said of it."""
    value = as_dict(getattr(part, field)).get(name)
    return np.zeros_like(as_dict(part.y)[name]) if value is None else value


def _doses(parts: Sequence[dict[str, np.ndarray]]) -> Doses:
    """The doses of the parts, filled up at the first of each subject; fields that no dose needs are left out."""
    whole: dict[str, Any] = {
        name: _wide([part[name] for part in parts], fill=int(name == "compartment")) for name in DOSE
    }
    counts = np.concatenate([np.full(len(part["time"]), part["time"].shape[1]) for part in parts])
    added = np.arange(whole["time"].shape[1]) >= np.maximum(counts, 1)[:, None]
    whole["time"] = np.where(added, whole["time"][:, :1], whole["time"])
    needed = {name for name, usual in USUAL.items() if np.any(whole[name] != usual)}
    if needed & {"interval", "steady_state"}:
        needed |= {"interval", "steady_state"}
    return Doses(**{name: whole[name] for name in DOSE if name not in USUAL or name in needed})


def _wide(arrays: Iterable[Any], last: bool = False, fill: int = 0) -> Any:
    """Arrays (N, n) under each other, the narrower ones filled up; with `last`, by their last column."""
    arrays = list(arrays)
    width = max(array.shape[1] for array in arrays)
    filled = []
    for array in arrays:
        more = (len(array), width - array.shape[1])
        filler = np.broadcast_to(array[:, -1:], more) if last else np.full(more, fill, array.dtype)
        filled.append(np.concatenate([array, filler], axis=1))
    return np.concatenate(filled)

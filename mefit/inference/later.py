"""Predictions of later responses as a table, a row for each, and the scores of that table."""

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd

from ..data.by_outcome import UNNAMED, as_dict
from ..data.choosing import measured
from ..data.population import Population
from . import scores
from .baselines import MeanByTime, own_mean
from .foretold import Asked, Foretold

_COVERED = 0.9  # of a central interval, whose coverage is told
_BASELINES = {"own_mean": "own mean so far", "population_mean": "population mean"}  # by column


def keys_of(predictions: pd.DataFrame) -> list[str]:
    """The columns that say to which landmark and outcome a row belongs."""
    return [name for name in ("AT", "OUTCOME") if name in predictions]


def later_rows(population: Population, at: float, name: str, told: Foretold, asked: Asked) -> pd.DataFrame:
    """The predictions of one outcome from one landmark on: a row for each later row of each person."""
    subjects = population.subjects
    person, row = np.nonzero(np.asarray(subjects.real) & (np.asarray(subjects.time) > at))

    def of(values: Any) -> np.ndarray:
        return np.asarray(values)[person, row]

    y = np.where(of(measured(subjects, name)), of(as_dict(subjects.y)[name]), np.nan)
    frame = pd.DataFrame({"AT": at, "ID": np.asarray(population.ids, object)[person]})
    if name != UNNAMED:
        frame["OUTCOME"] = name
    frame["TIME"] = of(subjects.time)
    frame["DV"] = y
    frame["mean"] = of(told.mean)
    frame["log_score"] = np.where(of(as_dict(subjects.mask)[name]), of(told.log_score), np.nan)
    if told.quantiles is not None:
        for level, values in zip(asked.quantiles, of(told.quantiles).T, strict=True):
            frame[f"q{100 * level:g}"] = values
    if told.place is not None:
        frame["place"] = np.where(np.isnan(y), np.nan, of(told.place))
    if told.grades is not None:
        grades = of(told.grades)
        for grade in range(grades.shape[1]):
            frame[f"p{grade}"] = grades[:, grade]
        frame["brier"] = scores.ranked_probability(grades, y)
    elif told.quantiles is None:
        _add_probability(frame, frame["mean"].to_numpy(), y != 0)
    elif told.above is not None:
        _add_probability(frame, of(told.above), y > asked.thresholds[name])
    return frame


def _add_probability(frame: pd.DataFrame, probability: np.ndarray, happened: np.ndarray) -> None:
    frame["probability"] = probability
    frame["happened"] = np.where(np.isnan(frame.DV), np.nan, happened)
    frame["brier"] = (frame.probability - frame.happened) ** 2


def together(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """One table of all, with every column that any may have; empty where an outcome has none."""
    whole = pd.concat(tables, ignore_index=True)
    for name in ("place", "probability", "happened", "brier"):
        if name not in whole:
            whole[name] = np.nan
    return whole


def add_baselines(
    predictions: pd.DataFrame, population: Population, reference: Population | None, chances: Collection[str]
) -> None:
    """Two more columns: what the person's own mean, and the mean of all at that time, would have said.

    Of `chances`, the outcomes that happen or not, these are shares.
    """
    if reference is None:
        raise ValueError("a model alone has seen nobody: give reference=, the people who give the baselines.")
    for column in _BASELINES:
        predictions[column] = np.nan
    position = {identity: i for i, identity in enumerate(population.ids)}
    for place, part in predictions.groupby(keys_of(predictions), sort=False):
        name = place[1] if "OUTCOME" in predictions else UNNAMED
        happens = name in chances
        by_time = MeanByTime(reference, name, happens)
        own = own_mean(population, name, place[0], by_time.overall, happens)
        predictions.loc[part.index, "own_mean"] = own[part.ID.map(position).to_numpy(int)]
        predictions.loc[part.index, "population_mean"] = by_time(part.TIME.to_numpy(float))


def scored(predictions: pd.DataFrame) -> pd.DataFrame:
    """Means over what was seen, for each landmark and outcome, of the model and of what it is compared with."""
    rows = []
    for place, part in predictions.groupby(keys_of(predictions), sort=False):
        where = dict(zip(keys_of(predictions), place, strict=True))
        rows.append({**where, "by": "model", **_of_model(part)})
        rows += [{**where, "by": _BASELINES[name], **_of_baseline(part, name)} for name in _BASELINES if name in part]
    return pd.DataFrame(rows)


def _of_model(part: pd.DataFrame) -> dict[str, Any]:
    is_chance = bool(part.happened.notna().any())
    is_number = bool(part.place.notna().any())
    return {
        "cells": int(part.log_score.notna().sum()),
        "log_score": float(part.log_score.mean()),
        "rmse": np.nan if is_chance and not is_number else _rmse(part["mean"], part.DV),
        "auc": scores.auc(part.probability, part.happened),
        "brier": float(part.brier.mean()),
        "calibration": scores.calibration_error(part.probability, part.happened),
        "cover90": scores.coverage(part.place, _COVERED),
    }


def _of_baseline(part: pd.DataFrame, column: str) -> dict[str, Any]:
    """Of yes or no and of numbers; a mean says nothing of other chances."""
    told: dict[str, Any] = {"cells": int(part.DV.notna().sum())}
    if part.place.notna().any() or not part.happened.notna().any():
        return {**told, "rmse": _rmse(part[column], part.DV)}
    happened = part.happened
    chance = part[column]
    log_score = np.log(np.where(happened == 1, chance, 1.0 - chance))
    return {
        **told,
        "log_score": float(np.mean(log_score[happened.notna()])),
        "auc": scores.auc(chance, happened),
        "brier": scores.brier(chance, happened),
        "calibration": scores.calibration_error(chance, happened),
    }


def _rmse(predicted: pd.Series, came: pd.Series) -> float:
    return float(np.sqrt(((predicted - came) ** 2).mean()))

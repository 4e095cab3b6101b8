"""Parts of a population that several processes have read are the population that one has read."""

import dataclasses

import jax
import numpy as np
import pandas as pd
import pytest

import mefit as mf
from mefit.data import distributed


def put_together(monkeypatch, *parts):
    """What `distribute` makes of parts, each read by a process of its own."""
    said = []
    monkeypatch.setattr(jax, "process_count", lambda: len(parts))
    monkeypatch.setattr(distributed, "gathered", lambda content: said.append(content) or [content])
    for part in parts:
        mf.distribute(part)
    monkeypatch.setattr(distributed, "gathered", lambda content: said)
    return mf.distribute(parts[-1])


def same(one, other):
    assert one.ids == other.ids and jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def rows(id, count, **columns):
    time = np.arange(count) * 1.5
    given = {"ID": id, "TIME": time, "DV": 10.0 * id + time, "AMT": 0.0, "WT": 60.0 + id, "CENS": 0} | columns
    return pd.DataFrame(given)


def read(*frames):
    return mf.Population.from_frame(pd.concat(frames), covariates=["WT"])


def test_shorter_parts_are_filled_up(monkeypatch):
    first = rows(1, 3, AMT=[100.0, 0, 0], DV=[np.nan, 4, 5])
    doses = {"AMT": [100.0, 0, 50, 0, 0], "DV": [np.nan, 4, np.nan, 5, 6]}
    second = rows(2, 5, WT=[60.0, 61, 62, 63, 64], CENS=[0, 1, 0, 0, 0], **doses)
    third = rows(3, 4)
    same(put_together(monkeypatch, read(first), read(second, third)), read(first, second, third))


def test_several_outcomes_and_doses_at_steady_state(monkeypatch):
    def two(id, **columns):
        return rows(id, 4, DVID=[1, 2, 1, 2], **columns)

    steady = two(2, AMT=[80.0, 0, 0, 0], SS=[1, 0, 0, 0], II=[12.0, 0, 0, 0], DV=[np.nan, 1, 2, 3])
    plain = two(1, AMT=[80.0, 0, 0, 0], DV=[np.nan, 1, 2, 3])
    same(put_together(monkeypatch, read(plain), read(steady)), read(plain, steady))


def test_what_does_not_go_together_is_a_sentence(monkeypatch):
    people = read(rows(1, 3), rows(2, 3))
    with pytest.raises(ValueError, match="subject 2 was read by process 0 and by process 1: let each read a part"):
        put_together(monkeypatch, people, read(rows(2, 3)))
    bare = dataclasses.replace(people, subjects=dataclasses.replace(people.subjects, covariates={}), ids=(8, 9))
    with pytest.raises(ValueError, match=r"part of process 1 has the covariates \[\] and that of process 0 has \['WT'"):
        put_together(monkeypatch, people, bare)

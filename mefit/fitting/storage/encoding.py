"""What a fit is made of, as plain JSON beside named arrays.

Numbers, texts and truth values stand as they are; all else is an object of one key that says what it is:

    {"tuple": [...]}, {"dict": [[key, value], ...]}, {"number": "nan"}, {"scalar": ..., "dtype": ...},
    {"array": name, "jax": true}, {"key": name, "implementation": ...}, {"frame": ...}, {"function": name},
    {"member": name, "of": class}, {"class": name, "fields": {...}}, {"class": name, "items": [...]},
    {"steps": ...}, the history of a fit, its models as one stack.
"""

import dataclasses
import enum
import functools
import hashlib
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from ...model.model import is_view
from ..result import Fit, Step
from .names import found, is_record, name_of, name_of_function, of_the_kit

COMPUTED = ("covariance", "shrinkage", "table")  # what a fit has worked out, if it was asked


class Encoder:
    """Values made ready to be written: `value` gives their JSON, and `arrays` and `classes` fill up on the way.

    Raises:
        ValueError: a value that cannot be written, naming the place where it stands.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self.classes: dict[str, type] = {}
        self.functions: set[str] = set()
        self._names: dict[str, str] = {}  # of arrays, by what they hold

    def value(self, value: Any, place: str) -> Any:
        """The JSON of a value that stands at this `place`."""
        if value is None or isinstance(value, str | bool) or type(value) is int:
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"number": repr(value)}
        if isinstance(value, enum.Enum):
            return {"member": value.name, "of": self._class(type(value), place)}
        if isinstance(value, np.generic):
            return {"scalar": self.value(value.item(), place), "dtype": value.dtype.str}
        if isinstance(value, np.ndarray | jax.Array):
            return self._array(value, place)
        if isinstance(value, pd.DataFrame):
            return self._frame(value, place)
        if isinstance(value, list):
            return [self.value(item, f"{place}[{i}]") for i, item in enumerate(value)]
        if isinstance(value, dict):
            pairs = [[self.value(k, place), self.value(v, f"{place}[{k!r}]")] for k, v in value.items()]
            return {"dict": pairs}
        if isinstance(value, Fit):
            return self.fit(value, place)
        if is_record(type(value)):
            return self._record(value, place)
        return self._function(value, place)

    def fit(self, fit: Fit, place: str) -> dict[str, Any]:
        """A fit: its fields, and what it has worked out already, so that it need not do so again."""
        fields = {}
        for field in dataclasses.fields(fit):
            inside = f"{place}.{field.name}"
            value = getattr(fit, field.name)
            fields[field.name] = self._history(value, inside) if field.name == "history" else self.value(value, inside)
        computed = {name: self.value(vars(fit)[name], f"{place}.{name}") for name in COMPUTED if name in vars(fit)}
        return {"class": self._class(type(fit), place), "fields": fields, "computed": computed}

    def _class(self, kind: type, place: str) -> str:
        name = name_of(kind)
        if is_view(kind) or (of_the_kit(name) and found(name) is not kind):
            raise ValueError(
                f"{place} is a {kind.__name__}, which the kit makes for a while only and no name leads to: save the "
                "fit of the whole model, and after loading take .outcome(name), or go on from there."
            )
        if self.classes.setdefault(name, kind) is not kind:
            raise ValueError(f"{place} is of a second class called {kind.__name__}: give one of the two another name.")
        return name

    def _record(self, value: Any, place: str) -> dict[str, Any]:
        if type(value) is tuple:
            return {"tuple": [self.value(item, f"{place}[{i}]") for i, item in enumerate(value)]}
        name = self._class(type(value), place)
        if dataclasses.is_dataclass(value):
            names = [field.name for field in dataclasses.fields(value)]
        elif hasattr(value, "_fields"):
            names = list(value._fields)
        else:
            return {"class": name, "items": [self.value(item, f"{place}[{i}]") for i, item in enumerate(value)]}
        fields = {n: self.value(getattr(value, n), f"{place}.{n}") for n in names if hasattr(value, n)}
        return {"class": name, "fields": fields}

    def _array(self, value: Any, place: str) -> dict[str, Any]:
        if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            data = np.asarray(jax.random.key_data(value))
            return {"key": self._named(data), "implementation": str(jax.random.key_impl(value))}
        if isinstance(value, np.ndarray) and value.dtype.hasobject:
            items = [self.value(item, place) for item in value.ravel().tolist()]
            return {"objects": items, "shape": list(value.shape)}
        return {"array": self._named(np.asarray(value)), "jax": isinstance(value, jax.Array)}

    def _named(self, array: np.ndarray) -> str:
        """The name of an array; what is there already is not written twice."""
        whole = np.ascontiguousarray(array).reshape(array.shape)
        content = hashlib.sha256(whole.tobytes()).hexdigest() + str((whole.shape, whole.dtype.str))
        if content not in self._names:
            self._names[content] = f"arrays/{len(self._names):04d}.npy"
            self.arrays[self._names[content]] = whole
        return self._names[content]

    def _frame(self, frame: pd.DataFrame, place: str) -> dict[str, Any]:
        columns = [self._column(frame.iloc[:, k], f"{place}[{k}]") for k in range(frame.shape[1])]
        return {
            "frame": columns,
            "columns": self.value(list(frame.columns), place),
            "columns_name": self.value(frame.columns.name, place),
            "index": self._column(frame.index.to_series(), place),
            "index_name": self.value(frame.index.name, place),
            "attrs": self.value(frame.attrs, place),
        }

    def _column(self, column: pd.Series, place: str) -> dict[str, Any]:
        if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf":
            return self._array(column.to_numpy(), place)
        return {"texts": self.value(list(column), place), "dtype": str(column.dtype)}

    def _function(self, value: Any, place: str) -> dict[str, Any]:
        if isinstance(value, functools.partial):
            given = {"arguments": self.value(value.args, place), "keywords": self.value(value.keywords, place)}
            return {"partial": self._function(value.func, place)} | given
        if not callable(value) or isinstance(value, type):
            raise ValueError(
                f"{place} is a {type(value).__name__}, which mf.save has no way to write: keep numbers, texts, arrays, "
                "and modules of Equinox in the fields of a model."
            )
        name = name_of_function(value)
        if name is None:
            raise ValueError(
                f"{place} is a function without a name, which no file can hold: write it by def, and fit with that."
            )
        self.functions.add(name)
        return {"function": name}

    def _history(self, steps: tuple[Step, ...], place: str) -> Any:
        """The steps of a fit with their models as one, whose arrays have a leading axis."""
        models = [step.model for step in steps]
        if len(steps) < 2 or not _alike(models):
            return self.value(steps, place)
        stack = jax.tree.map(lambda *leaves: _stacked(leaves), *models)
        columns = {
            name: self.value([getattr(step, name) for step in steps], place)
            for name in ("iteration", "minus_two_objective", "measure", "measure_name")
        }
        self._class(Step, place)
        return {"steps": columns, "models": self.value(stack, f"{place}.model")}


def _stacked(leaves: tuple[Any, ...]) -> Any:
    return jnp.asarray(np.stack([np.asarray(leaf) for leaf in leaves])) if eqx.is_array(leaves[0]) else leaves[0]


def _alike(models: list[Any]) -> bool:
    """Do the models differ in the values of their arrays alone?"""
    parts = [eqx.partition(model, eqx.is_array) for model in models]
    shapes = [[(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(arrays)] for arrays, _ in parts]
    kinds: list[Any] = [jax.tree.structure(arrays) for arrays, _ in parts]
    first = parts[0][1]
    return all(
        shape == shapes[0] and kind == kinds[0] and eqx.tree_equal(rest, first) is True
        for shape, kind, (_, rest) in zip(shapes, kinds, parts, strict=True)
    )

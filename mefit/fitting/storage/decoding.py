"""JSON and named arrays, as `encoding` writes them, back to what a fit is made of.

Objects are put together field by field: none of their constructors runs.
"""

import dataclasses
import enum
import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from ...base.archive import Archive
from ..result import Step
from .names import Known, of_the_kit


class Decoder:
    """Reads what an `Encoder` wrote.

    Raises:
        ValueError: a class that is not to be found, or has other fields by now; arrays that are missing.
    """

    def __init__(self, archive: Archive, known: Known):
        self._archive = archive
        self._known = known
        self._read = functools.cache(archive.array)

    def value(self, form: Any) -> Any:
        """The value of a piece of JSON."""
        if form is None or isinstance(form, str | bool | int | float):
            return form
        if isinstance(form, list):
            return [self.value(item) for item in form]
        for mark, read in _READERS.items():
            if mark in form:
                return read(self, form)
        raise ValueError(f"{self._archive.path} holds {sorted(form)}, which this version does not know.")

    def _number(self, form: dict) -> float:
        return float(form["number"])

    def _scalar(self, form: dict) -> Any:
        return np.dtype(form["dtype"]).type(self.value(form["scalar"]))

    def _tuple(self, form: dict) -> tuple:
        return tuple(self.value(item) for item in form["tuple"])

    def _dict(self, form: dict) -> dict:
        return {self.value(key): self.value(value) for key, value in form["dict"]}

    def _array(self, form: dict) -> Any:
        array = self._read(form["array"])
        return jnp.asarray(array) if form["jax"] else array.copy()

    def _key(self, form: dict) -> Any:
        return jax.random.wrap_key_data(jnp.asarray(self._read(form["key"])), impl=form["implementation"])

    def _objects(self, form: dict) -> np.ndarray:
        array = np.empty(form["shape"], object)
        array.ravel()[:] = [self.value(item) for item in form["objects"]]
        return array

    def _frame(self, form: dict) -> pd.DataFrame:
        index = pd.Index(self._column(form["index"]), name=self.value(form["index_name"]))
        columns = [pd.Series(self._column(column), index=index) for column in form["frame"]]
        frame = pd.concat(columns, axis=1) if columns else pd.DataFrame(index=index)
        frame.columns = pd.Index(self.value(form["columns"]), name=self.value(form["columns_name"]))
        frame.attrs.update(self.value(form["attrs"]))
        return frame

    def _column(self, form: dict) -> Any:
        if "texts" in form:
            return pd.array(self.value(form["texts"]), dtype=form["dtype"])
        return self._array(form)

    def _function(self, form: dict) -> Any:
        return self._known.function(form["function"])

    def _partial(self, form: dict) -> functools.partial:
        function = self._known.function(form["partial"]["function"])
        return functools.partial(function, *self.value(form["arguments"]), **self.value(form["keywords"]))

    def _member(self, form: dict) -> enum.Enum:
        kind = self._known.kind(form["of"])
        if not issubclass(kind, enum.Enum) or form["member"] not in kind.__members__:
            raise ValueError(f"{kind.__name__} has no {form['member']} in this version, which the file speaks of.")
        return kind[form["member"]]

    def _record(self, form: dict) -> Any:
        kind = self._known.kind(form["class"])
        if "items" in form:
            return tuple.__new__(kind, [self.value(item) for item in form["items"]])
        fields = {name: self.value(value) for name, value in form["fields"].items()}
        if issubclass(kind, tuple):
            names = getattr(kind, "_fields", ())
            if set(names) != set(fields):
                raise ValueError(_changed(form["class"], set(fields) ^ set(names)))
            return tuple.__new__(kind, [fields[name] for name in names])
        made = object.__new__(kind)
        for name, value in _filled(kind, form["class"], fields).items():
            object.__setattr__(made, name, value)
        for name, value in form.get("computed", {}).items():
            vars(made)[name] = self.value(value)  # where a cached property keeps it
        return made

    def _steps(self, form: dict) -> tuple[Step, ...]:
        columns = {name: self.value(column) for name, column in form["steps"].items()}
        arrays, rest = eqx.partition(self.value(form["models"]), eqx.is_array)
        arrays = jax.tree.map(np.asarray, arrays)
        steps = []
        for i, row in enumerate(zip(*columns.values(), strict=True)):
            model = eqx.combine(jax.tree.map(lambda leaf, i=i: jnp.asarray(leaf[i]), arrays), rest)
            steps.append(Step(**dict(zip(columns, row, strict=True)), model=model))
        return tuple(steps)


_READERS = {
    "number": Decoder._number,
    "scalar": Decoder._scalar,
    "tuple": Decoder._tuple,
    "dict": Decoder._dict,
    "array": Decoder._array,
    "key": Decoder._key,
    "objects": Decoder._objects,
    "frame": Decoder._frame,
    "function": Decoder._function,
    "partial": Decoder._partial,
    "member": Decoder._member,
    "class": Decoder._record,
    "steps": Decoder._steps,
}


def _filled(kind: type, name: str, fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a class; those that a later version of the kit has added have their defaults."""
    declared = {field.name: field for field in dataclasses.fields(kind)}
    gone = set(fields) - set(declared)
    if gone:
        raise ValueError(_changed(name, gone))
    made = {}
    for field in declared.values():
        if field.name in fields:
            made[field.name] = fields[field.name]
        elif of_the_kit(name) and field.default is not dataclasses.MISSING:
            made[field.name] = field.default
        elif of_the_kit(name) and field.default_factory is not dataclasses.MISSING:
            made[field.name] = field.default_factory()
        else:
            raise ValueError(_changed(name, {field.name}))
    return made


def _changed(name: str, fields: set[str]) -> str:
    short = name.rpartition(":")[2]
    which = ", ".join(sorted(fields))
    if of_the_kit(name):
        return f"{short} has other fields in this version ({which}): install the versions that the file was written by."
    return f"{short} has changed since the fit was saved ({which}): hand in the class as it was then."

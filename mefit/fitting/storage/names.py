"""Classes and functions by name: what a file may name, and where that is looked up.

A file holds names and numbers, never code. A name is looked up among the kit's own classes, those of the libraries that
the kit is built on, a list of functions without effects, and what the caller hands in. Nothing that is found is called.
"""

import dataclasses
import enum
import importlib
from collections.abc import Callable, Iterable
from typing import Any

import jax.nn
import jax.numpy as jnp
import jax.scipy.special

_KIT = "mefit"
_LIBRARIES = ("equinox", "diffrax", "optimistix", "lineax", "optax")
# Elementwise functions, of which networks have one as activation and one as link.
_ELEMENTWISE = (
    "abs arcsinh arctan ceil cos cosh exp exp2 expm1 floor log log10 log1p log2 maximum minimum negative positive "
    "reciprocal sign sin sinc sinh sqrt square tan tanh"
).split()
_FUNCTIONS = {
    "jax.numpy": {name: getattr(jnp, name) for name in _ELEMENTWISE},
    "jax.nn": {name: made for name, made in vars(jax.nn).items() if callable(made) and not name.startswith("_")},
    "jax.scipy.special": {
        name: made for name, made in vars(jax.scipy.special).items() if callable(made) and not name.startswith("_")
    },
}
_OF_THE_KIT = f"{_KIT}.curves."  # the functions of the kit that a model may have in a field


def name_of(kind: Any) -> str:
    """The name of a class or a function: its module, a colon, and where it stands there."""
    return f"{kind.__module__}:{kind.__qualname__}"


def is_record(kind: Any) -> bool:
    """Is it a class that a file may name: a dataclass, a named tuple, another tuple, or an enumeration?"""
    return isinstance(kind, type) and (dataclasses.is_dataclass(kind) or issubclass(kind, tuple | enum.Enum))


def of_the_kit(name: str) -> bool:
    """Does a name stand in the kit, or in a library that it is built on?"""
    return name.split(":")[0].split(".")[0] in (_KIT, *_LIBRARIES)


def found(name: str) -> Any:
    """What bears a name in the kit or in its libraries; None where nothing does."""
    module, _, path = name.partition(":")
    try:
        place: Any = importlib.import_module(module)
        for part in path.split("."):
            place = getattr(place, part)
    except (ImportError, AttributeError):
        return None
    return place


def name_of_function(function: Callable) -> str | None:
    """The name by which a function is kept; None for one that no name leads to, such as a lambda."""
    for module, functions in _FUNCTIONS.items():
        for name, known in functions.items():
            if known is function:
                return f"{module}:{name}"
    if "<lambda>" in getattr(function, "__qualname__", "<lambda>"):
        return None
    return name_of(function)


class Known:
    """Where names are looked up: the kit, and what the caller hands in.

    Raises:
        ValueError: something handed in that is neither a class nor a function.
    """

    def __init__(self, given: Any = ()):
        given = (given,) if isinstance(given, type) or callable(given) else tuple(given)
        for item in given:
            if not callable(item) or not hasattr(item, "__qualname__"):
                raise ValueError(
                    f"models takes classes, such as models=[OneCompartment] without brackets after the name; "
                    f"it got a {type(item).__name__}."
                )
        self._given = given

    def kind(self, name: str) -> type:
        """The class of a name. ValueError, telling what to hand in, where it is not to be found."""
        kind = self._handed_in(name)
        if kind is None and of_the_kit(name):
            kind = found(name)
        if kind is None:
            raise ValueError(_missing(name))
        if not is_record(kind):
            raise ValueError(f"{name} is no class of models or their parts, and is not read from a file.")
        return kind

    def function(self, name: str) -> Callable:
        """The function of a name. ValueError, telling what to hand in, where it is not to be found."""
        module, _, path = name.partition(":")
        handed_in = self._handed_in(name)
        if handed_in is not None:
            return handed_in
        if path in _FUNCTIONS.get(module, {}):
            return _FUNCTIONS[module][path]
        function = found(name) if module.startswith(_OF_THE_KIT) else None
        if function is None:
            raise ValueError(_missing(name))
        return function

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those of the names that would have to be handed in, without their modules."""
        lacking = []
        for name in names:
            module = name.partition(":")[0]
            if self._handed_in(name) is None and not of_the_kit(name) and module not in _FUNCTIONS:
                lacking.append(name.rpartition(":")[2].rpartition(".")[2])
        return lacking

    def _handed_in(self, name: str) -> Any:
        same = [item for item in self._given if name_of(item) == name]
        short = name.rpartition(":")[2].rpartition(".")[2]
        alike = [item for item in self._given if item.__name__ == short]
        if same or not alike or of_the_kit(name):
            return same[0] if same else None
        if len(alike) > 1:
            raise ValueError(f"models holds two classes called {short}: hand in the one that was fitted.")
        return alike[0]


def _missing(name: str) -> str:
    short = name.rpartition(":")[2].rpartition(".")[2]
    if of_the_kit(name):
        return f"this mefit has no {name}: install the versions that the file was written by."
    return f"the file needs {short}, which is not part of the kit: define it, and hand it in by models=[{short}]."

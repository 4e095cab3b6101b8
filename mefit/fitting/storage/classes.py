"""What a class looked like when a fit of it was saved, and whether it still does.

What is compared: the names of its fields, their types, and what each declares (domain, unit, names, prior). The text of
its methods is kept to be read, and compared after it was parsed, so that layout, comments and docstrings do not count.
"""

import ast
import dataclasses
import inspect
import linecache
import re
import sys
import textwrap
from typing import Any

import numpy as np

from ...model.parameters import Parameter
from .names import of_the_kit

_KEY = "mefit"  # as in `model.parameters`: the place of a declaration in a field's metadata
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def described(kind: type) -> dict[str, Any]:
    """A class of the caller's own as plain JSON: its fields in order, and its source where it is at hand."""
    return {"fields": _fields(kind), "source": source_of(kind)}


def refuse_changed(kind: type, told: dict[str, Any], python: str) -> None:
    """ValueError, naming the field, where a class has other fields or declarations than it had.

    Types are compared within one version of Python only, as versions spell them differently.
    """
    before = told["fields"]
    now = _fields(kind)
    for name in [*before, *(name for name in now if name not in before)]:
        if name not in now:
            raise ValueError(_sentence(kind, f"it had a field {name}, and has none now"))
        if name not in before:
            raise ValueError(_sentence(kind, f"it has a field {name}, which it did not have"))
        for what, was in before[name].items():
            is_now = now[name].get(what, "")
            if was != is_now and (what != "type" or python == PYTHON):
                change = f"the {what} of {name} was {was or 'none'}, and is {is_now or 'none'}"
                raise ValueError(_sentence(kind, change))


def _sentence(kind: type, what: str) -> str:
    return (
        f"{kind.__name__} has changed since the fit was saved: {what}. Hand in the class as it was then, which the "
        "file keeps in model.py, or fit again."
    )


def reads_otherwise(kind: type, told: dict[str, Any]) -> bool:
    """Do the methods of a class say something else than they did, as far as their text is known?"""
    before = told["source"]
    now = source_of(kind)
    return bool(before and now) and _meaning(before) != _meaning(now)


def _fields(kind: type) -> dict[str, dict[str, str]]:
    if not dataclasses.is_dataclass(kind):
        return {name: {} for name in getattr(kind, "_fields", ())}
    return {f.name: {"type": _type_text(f.type)} | _declaration(f.metadata.get(_KEY)) for f in dataclasses.fields(kind)}


def _type_text(kind: Any) -> str:
    """A type as it is written, without the modules, which move between versions."""
    text = kind if isinstance(kind, str) else getattr(kind, "__name__", None) or str(kind)
    return re.sub(r"\b(\w+\.)+(?=\w)", "", text)


def _declaration(parameter: Parameter | None) -> dict[str, str]:
    if parameter is None:
        return {"domain": ""}
    domain = getattr(parameter.domain, "words", type(parameter.domain).__name__)
    return {
        "domain": domain,
        "unit": parameter.unit,
        "names": ", ".join(parameter.names),
        "prior": _prior_text(parameter.prior),
    }


def _prior_text(prior: Any) -> str:
    """A prior by its class and its numbers."""
    if prior is None:
        return ""
    if dataclasses.is_dataclass(prior):
        given = {field.name: getattr(prior, field.name) for field in dataclasses.fields(prior)}
    else:
        given = {name: getattr(prior, name, None) for name in sorted(getattr(prior, "arg_constraints", {}))}
    texts = [f"{name}={np.asarray(value).tolist()}" for name, value in given.items() if value is not None]
    return f"{type(prior).__name__}({', '.join(texts)})"


# ---------------------------------------------------------------- source


def source_of(kind: type) -> str:
    """The text of a class and of the classes it is made from, the kit's own left out; empty where it is not at hand."""
    own = [base for base in reversed(kind.__mro__) if base is not object and not of_the_kit(base.__module__)]
    texts = [_source(base) for base in own if not _from_python(base)]
    return "\n\n".join(texts) if texts and all(texts) else ""


def _from_python(kind: type) -> bool:
    """Is it a class of Python itself, such as `abc.ABC`?"""
    return kind.__module__.split(".")[0] in sys.stdlib_module_names and kind.__module__ != "__main__"


def _source(kind: type) -> str:
    try:
        return textwrap.dedent(inspect.getsource(kind))
    except (OSError, TypeError):
        return _source_of_a_cell(kind)


def _source_of_a_cell(kind: type) -> str:
    """The text of a class of a notebook, which Python finds by way of its methods only."""
    codes = [inspect.unwrap(made).__code__ for made in vars(kind).values() if inspect.isfunction(made)]
    for code in codes:
        text = "".join(linecache.getlines(code.co_filename))
        try:
            tree = ast.parse(text)
        except SyntaxError:  # a cell with a line for IPython
            continue
        for node in ast.walk(tree):
            if not isinstance(node, ast.ClassDef) or node.name != kind.__name__:
                continue
            if node.lineno <= code.co_firstlineno <= (node.end_lineno or 0):
                return textwrap.dedent(ast.get_source_segment(text, node, padded=True) or "")
    return ""


def _meaning(source: str) -> str:
    """The parsed text, without docstrings; the text itself where it is not Python on its own."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return source
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        documented = isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None
        if documented and isinstance(body, list):
            del body[0]
    return ast.dump(tree)

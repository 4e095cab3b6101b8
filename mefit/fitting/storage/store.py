"""`save` and `load`: a fit in one file, to be opened again by this kit, and read without it."""

import importlib.metadata
import json
import os
import platform
import warnings
from collections.abc import Callable
from typing import Any

from ...base.archive import Archive, write_archive
from ...model.model import Model
from ..result import Fit
from .classes import described, reads_otherwise, refuse_changed, source_of
from .decoding import Decoder
from .encoding import Encoder
from .names import Known, of_the_kit

FORMAT = 1  # of the file; a version reads its own and all before
_CONTENTS = "fit.json"
_README = """This file is a zip archive. It holds a fitted mixed-effects model, as mefit.save wrote it.

summary.txt     the fit as a person reads it
estimates.csv   its numbers: estimate, unit, standard error
data.csv        the data that were fitted, an event a row
model.py        the source of the model, to be read; nothing runs it
fit.json        everything, as JSON; arrays are named there
arrays/         the arrays, each in NumPy's .npy format (numpy.load)

To open it: import mefit as mf; fit = mf.load("this file"), and models=[MyModel] for a model that is not the kit's.
"""


def save(fit: Fit, path: str | os.PathLike) -> None:
    """Write a fit into one file: model, data, estimates, draws, history, method, key and versions.

    The file is a zip of JSON and NumPy arrays, with a summary, the estimates and the data as tables beside them, so
    that it can be read without this kit, too. It holds the data: pass it on as you would pass on these. No code is in
    it but the source of the model, as text to be read. It is written whole or not at all: where the disk is full, what
    was there before stays. Any suffix will do; `.mefit` says what it is.

        mf.save(fit, "theophylline.mefit")
        fit = mf.load("theophylline.mefit", models=[OneCompartment])

    **Raises:** ValueError for what is no fit, or a field that holds something without a name, such as a lambda; OSError
    for a place that cannot be written to.
    """
    if not isinstance(fit, Fit):
        raise ValueError(f"mf.save writes what mf.fit returns; it got a {type(fit).__name__}.")
    summary = _told(lambda: str(fit))  # before the fields, so that what it works out is kept with them
    encoder = Encoder()
    contents = encoder.fit(fit, "fit")
    own = _own(encoder)
    manifest = {
        "format": FORMAT,
        "versions": _versions(),
        "model": type(fit.model).__name__,
        "classes": {name: described(kind) for name, kind in own.items()},
        "functions": sorted(encoder.functions),
        "fit": contents,
    }
    texts = {
        "README.txt": _README,
        "summary.txt": summary + "\n",
        "estimates.csv": _told(lambda: fit.table.to_csv()),
        "data.csv": _told(lambda: fit.population.to_frame().to_csv(index=False)),
        "model.py": model_source(fit.model),
        _CONTENTS: json.dumps(manifest, ensure_ascii=False, allow_nan=False, indent=1),
    }
    write_archive(path, texts, encoder.arrays)


def model_source(model: Model) -> str:
    """The text of the classes that a model is made of, the kit's own left out; empty where it is not at hand."""
    encoder = Encoder()
    encoder.value(model, "model")
    texts = list(dict.fromkeys(filter(None, map(source_of, _own(encoder).values()))))
    kept = [text for text in texts if not any(text != other and text in other for other in texts)]
    return "\n\n".join(kept)


def _own(encoder: Encoder) -> dict[str, type]:
    """The classes that are the caller's."""
    return {name: kind for name, kind in encoder.classes.items() if not of_the_kit(name)}


def load(path: str | os.PathLike, *, models: Any = ()) -> Fit:
    """Open a fit that `mf.save` wrote.

    Nothing of the file is run. Classes are looked up by their names: the kit's own are found, and your own are handed
    in, as in `models=[OneCompartment]`; so are parts of your own that a model or a method has, and functions. What the
    fit can do, it can do again: tables, predictions, pictures, doses.

    **Raises:** ValueError, in one sentence, for a class that was not handed in or has changed since (its fields, their
    types, domains, units or priors), for a file that is cut, damaged, or of a newer format; OSError where there is no
    such file. Warns where the methods of a class read otherwise than they did: its predictions may then be others.
    """
    archive = Archive(path)
    if _CONTENTS not in archive:
        raise ValueError(f"{path} holds no fit: it is a zip of something else.")
    try:
        manifest = json.loads(archive.text(_CONTENTS))
        written = manifest["format"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path} is damaged: {_CONTENTS} cannot be read; copy the file again.") from None
    if written > FORMAT:
        raise ValueError(
            f"{path} is of format {written}, written by mefit {manifest['versions']['mefit']}, and this version reads "
            f"up to {FORMAT}: install that version or a newer one."
        )
    known = Known(models)
    _refuse_missing(path, known, manifest)
    python = manifest["versions"]["python"].rpartition(".")[0]
    for name, told in manifest["classes"].items():
        kind = known.kind(name)
        refuse_changed(kind, told, python)
        if reads_otherwise(kind, told):
            warnings.warn(
                f"{kind.__name__} reads otherwise than when this fit was saved, and its predictions may be others: "
                "compare it with model.py in the file.",
                stacklevel=2,
            )
    try:
        fit = Decoder(archive, known).value(manifest["fit"])
    except ValueError as error:
        writer = manifest["versions"]["mefit"]
        raise ValueError(f"{str(error).rstrip('.')} (the file was written by mefit {writer}).") from error
    except (KeyError, TypeError, AttributeError, IndexError) as error:  # a part that is not of the form it claims
        raise ValueError(f"{path} is damaged: {_CONTENTS} does not hang together; copy the file again.") from error
    if not isinstance(fit, Fit):
        raise ValueError(f"{path} is damaged: it holds a {type(fit).__name__}, and no fit.")
    return fit


def _refuse_missing(path: Any, known: Known, manifest: dict[str, Any]) -> None:
    """ValueError, naming all at once, for classes and functions that have to be handed in."""
    missing = known.missing([*manifest["classes"], *manifest["functions"]])
    if missing:
        names = ", ".join(dict.fromkeys(missing))
        raise ValueError(
            f"{path} needs {names}, not part of the kit: define or import it, and call mf.load(path, models=[{names}])."
        )


def _versions() -> dict[str, str]:
    packages = ("mefit", "jax", "numpy", "equinox", "numpyro", "diffrax", "optax", "pandas", "scipy")
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in packages}


def _told(make: Callable[[], str]) -> str:
    """A text beside the fit; where it cannot be made, the reason: no table is worth losing a fit for."""
    try:
        return make()
    except Exception as error:
        return f"not to be had: {error}"

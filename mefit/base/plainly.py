"""What Python, NumPy and JAX complain of in a person's own code, in plain words and what to do.

A model is followed by JAX: its code runs with arrays that stand for any value. What needs one value
at that moment (an `if`, `float`, NumPy) stops it, in words that are meant for those who know how
JAX works.
"""

import re
import sysconfig
import traceback
import types
from pathlib import Path

# Words of the complaint, and what they mean here.
_SAID = {
    "boolean conversion of traced": "`if`, `and` or `max` decides by what is fitted; use jnp.where(condition, a, b)",
    "boolean indices must be concrete": (
        "how many rows a condition picks is not known at once; keep all, by jnp.where"
    ),
    "__index__() method was called": "a list or a range needs a place that is known at once; make it an array of jnp",
    "__array__() was called on traced": "NumPy cannot take what is fitted; write jnp for np, jax.scipy for scipy",
    "where concrete value is expected": (
        "float, int and math cannot take what is fitted; use functions of jnp instead"
    ),
    "in-place item assignment": "an array of jnp is never changed; x = x.at[i].set(value) makes another",
    "truth value of an array": "`if`, `and` or `max` is given a whole array; use np.where(condition, a, b)",
    "inhomogeneous": "a list holds rows of different lengths, or numbers beside arrays; give all the same",
    "arrays can be converted to": (
        "an array stands where one number is needed; functions of math take numbers, those of np arrays"
    ),
}
_UNFIT = re.compile(
    r"broadcast|not aligned|core dimension|contracting dimensions|same shape"
    r"|numbers? of dimensions",
)
_NOT_WHOLE = re.compile(
    r"\bind(?:ex|ices|exer)\b.*\binteger\b|\binteger\b.*\bindices\b",
    re.IGNORECASE,
)


class Refusal(ValueError):
    """A ValueError whose sentence says everything that is to be known.

    A notebook shows the sentence first, and below it the lines of whoever wrote them: the frames of
    libraries between, often more than a hundred lines, say nothing to a beginner. Elsewhere, and for
    a debugger, it is an error like any other, with its whole traceback.
    """

    __module__ = "mefit"  # Python says where an error is from

    def _render_traceback_(self) -> list[str]:
        """What IPython asks an error for, in place of its own rendering."""
        where = [f"    in line {frame.lineno}:  {frame.line}" for frame in _frames_of_the_author(self)]
        return [f"\x1b[31mValueError\x1b[39m: {self}", *where]


def plainly(error: Exception) -> str | None:
    """The complaint in plain words, or None where Python's own are as good as any."""
    complaint = str(error)
    for words, plain in _SAID.items():
        if words in complaint:
            return plain
    if not isinstance(error, TypeError | ValueError | IndexError):
        return None
    if _NOT_WHOLE.search(complaint):
        return "an array is asked for a place that is no whole number; make it one by x.astype(int)"
    if _UNFIT.search(complaint) and not isinstance(error, IndexError):
        together = "do not go together; look along which axis each of them runs"
        return f"arrays{_shapes(complaint)} {together}"
    return None


def _shapes(complaint: str) -> str:
    """The shapes, or else the two sizes, that a complaint names."""
    shapes = re.findall(r"\(\d+(?:, ?\d+)*,?\)", complaint)
    if shapes:
        return f" of shapes {' and '.join(shapes)}"
    sizes = re.search(r"(\d+) (?:is different from|vs) (\d+)", complaint)
    if sizes is None:
        return ""
    return f", where {sizes[1]} meets {sizes[2]},"


def told(error: Exception, who: str) -> Exception:
    """A refusal that says where `who` stopped and why; the error itself if its words will do."""
    plain = plainly(error)
    if plain is None:
        return error
    line = _line_of_the_author(error)
    place = f" at `{line}`" if line else ""
    return Refusal(f"{who} stopped{place}: {plain}.")


def _line_of_the_author(error: Exception) -> str | None:
    """The last line of whoever wrote the model, and not where some library raised the error."""
    frames = _frames_of_the_author(error)
    return frames[-1].line if frames else None


def _frames_of_the_author(error: Exception) -> list[traceback.FrameSummary]:
    """The frames outside the kit, the libraries and what they generate, from the first to the last."""
    return [frame for frame in traceback.extract_tb(error.__traceback__) if frame.line and not _of_a_library(frame)]


def _of_a_library(frame: traceback.FrameSummary) -> bool:
    made_up = ("<string>", "<frozen ", "<@")  # but not <ipython-input-1-...>, which is a cell
    libraries = (str(Path(__file__).parents[1]), sysconfig.get_path("stdlib"), "site-packages", *made_up)
    return any(folder in frame.filename for folder in libraries)


def line_that_asks(frames: types.TracebackType | None) -> str | None:
    """The line of whoever wrote the model, where it asks JAX itself; None where the kit or a library asks."""
    for frame in reversed(traceback.extract_tb(frames)):
        if not _of_jax(Path(frame.filename)):
            return None if _of_a_library(frame) else frame.line
    return None


def _of_jax(file: Path) -> bool:
    """Is it a file of JAX, or of Python, by which JAX calls itself?"""
    if "site-packages" in file.parts:  # which may lie within Python's own folder
        return file.parts[file.parts.index("site-packages") + 1] in ("jax", "jaxlib")
    return Path(sysconfig.get_path("stdlib")) in file.parents

"""How a long computation stands, in one line that is gone when the computation has ended.

In a notebook the line is HTML that is replaced in its place. It is no widget: of a widget that was closed, a notebook
that is saved and opened again says that its model was not found. Anywhere else it is tqdm's line on standard error.
"""

import html
import sys
import time
from typing import Any

from tqdm.std import tqdm

_EVERY = 1 / 8  # seconds: a browser that is asked to draw more often falls behind
_GONE = {"text/html": "", "text/plain": ""}  # takes no room on the page


class Line:
    """The line in a notebook, with those of tqdm's methods that the library uses.

    It is shown from `__enter__` on, or `delay` seconds later, and emptied by `__exit__`, however the block ends.
    `n` counts what is done of `total`, where that is known.
    """

    def __init__(self, label: str, total: int | None, delay: float):
        self.n = 0
        self._label = label
        self._note = ""
        self._total = total
        self._begun = time.monotonic()
        self._due = self._begun + delay
        self._first: tuple[float, int] | None = None  # when the first was done, and how much: before it is compiling
        self._handle: Any = None

    def __enter__(self) -> "Line":
        self._show()
        return self

    def __exit__(self, *_: Any) -> None:
        if self._handle is not None:
            self._handle.update(_GONE, raw=True)

    def set_description_str(self, text: str, refresh: bool = True) -> None:
        """What is being done."""
        self._label = text
        if refresh:
            self._show()

    def set_postfix_str(self, text: str, refresh: bool = True) -> None:
        """What has been reached so far."""
        self._note = text
        if refresh:
            self._show()

    def update(self, n: int = 1) -> None:
        """Another `n` are done."""
        self.n += n
        if self._first is None:
            self._first = (time.monotonic(), self.n)
        self._show()

    def _show(self) -> None:
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + _EVERY
        data = self._data(now)
        if self._handle is None:
            from IPython.display import display

            self._handle = display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)

    def _data(self, now: float) -> dict[str, str]:
        """The line as a browser and as a terminal show it."""
        parts = [self._note, f"{self.n} of {self._total}" if self._total else "", duration(now - self._begun)]
        parts.append(self._left(now))
        text = f"{self._label}: {', '.join(part for part in parts if part)}"
        bar = ""
        if self._total:
            name = html.escape(self._label, quote=True)
            bar = f'<progress aria-label="{name}" max="{self._total}" value="{self.n}"></progress> '
        return {"text/html": f"<div>{bar}<span>{html.escape(text)}</span></div>", "text/plain": text}

    def _left(self, now: float) -> str:
        """The time that is left, at the pace since the first was done."""
        if self._total is None or self._first is None or self.n <= self._first[1]:
            return ""
        pace = (now - self._first[0]) / (self.n - self._first[1])
        return f"about {duration(pace * max(0, self._total - self.n))} left"


def duration(seconds: float) -> str:
    """A time for people: 90 s, 12 min, 3.4 h."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def in_notebook() -> bool:
    """Whether this runs in the kernel of a notebook. IPython is not imported to find out: there it already is."""
    module = sys.modules.get("IPython")
    shell = None if module is None else module.get_ipython()
    return getattr(shell, "kernel", None) is not None


def progress_line(label: str, total: int | None = None, *, shown: bool = True, delay: float = 0.0) -> Any:
    """A line to be used in a `with`: a `Line` in a notebook, elsewhere tqdm's; both are gone at its end."""
    if shown and in_notebook():
        return Line(label, total, delay)
    return tqdm(desc=label, total=total, disable=not shown, delay=delay, leave=False)

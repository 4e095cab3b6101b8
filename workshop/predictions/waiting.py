"""Results that would give an answer away wait, folded, until their question is revealed."""

import html
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from IPython.display import HTML, display
from IPython.utils.capture import CapturedIO, capture_output

_FOLDED = "The result, which opens when you reveal your prediction."


@contextmanager
def folded(place: str, is_open: bool) -> Iterator[None]:
    """Show what the body prints and displays behind a fold, which *Reveal* opens; at once where `is_open`."""
    with capture_output() as caught:
        yield
    if is_open:
        caught.show()
    else:
        inside = _page(caught)
        fold = f'<details class="mefit-waits" data-place="{place}"><summary>{_FOLDED}</summary>{inside}</details>'
        display(HTML(fold))


def _page(caught: CapturedIO) -> str:
    printed = f"<pre>{html.escape(caught.stdout)}</pre>" if caught.stdout else ""
    return printed + "".join(_part(output.data, output.metadata or {}) for output in caught.outputs)


def _part(data: dict[str, Any], told: dict[str, Any]) -> str:
    if "text/html" in data:
        return data["text/html"]
    if "image/png" in data:
        picture = data["image/png"]
        text = picture if isinstance(picture, str) else b64encode(picture).decode()
        words = html.escape(told.get("image/png", {}).get("alt", ""))
        return f'<img alt="{words}" style="max-width:100%" src="data:image/png;base64,{text}">'
    return f"<pre>{html.escape(data['text/plain'])}</pre>"

"""Pictures on exported pages say in words what they are pictures of, for those who do not see them.

A picture of the kit has such words (`style.Picture.alt`), a notebook keeps them, and nbconvert's usual pages leave them
out. The kit's settings of Jupyter (`.jupyter/jupyter_config.json`) name `AltTexts`, which puts them back.
"""

import html
from typing import Any

from nbconvert.preprocessors import Preprocessor

_PICTURE = "image/png"


class AltTexts(Preprocessor):
    """Before a page is made: each picture that has words becomes an `img` with an `alt`."""

    def preprocess_cell(self, cell: Any, resources: Any, index: int) -> tuple[Any, Any]:
        """The cell, with a form for pages beside each picture; pictures without words stay as they are."""
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            told = output.get("metadata", {}).get(_PICTURE, {})
            if _PICTURE in data and "text/html" not in data and told.get("alt"):
                data["text/html"] = _as_page(data[_PICTURE], told)
        return cell, resources


def _as_page(picture: str, told: dict[str, Any]) -> str:
    words = html.escape(told["alt"])
    size = "".join(f' {side}="{told[side]:g}"' for side in ("width", "height") if side in told)
    source = "".join(picture.split())
    return f'<img alt="{words}"{size} style="max-width:100%" src="data:image/png;base64,{source}">'

"""A picture on a page that nbconvert makes says what it is a picture of; the page is made with the kit's settings."""

import html
import json
import re
from base64 import b64encode
from pathlib import Path

import pytest

from mefit.plots import style

nbconvert = pytest.importorskip("nbconvert")
nbformat = pytest.importorskip("nbformat")
config = pytest.importorskip("traitlets.config")

SETTINGS = Path(__file__).resolve().parents[2] / ".jupyter" / "jupyter_config.json"


def page_of(*pictures: style.Picture) -> str:
    """The page of a notebook with these pictures, as IPython keeps them."""
    outputs = []
    for picture in pictures:
        shown = picture._repr_png_()
        bytes_of, told = shown if isinstance(shown, tuple) else (shown, {})
        data = {"image/png": b64encode(bytes_of).decode()}
        outputs.append(nbformat.v4.new_output("display_data", data, metadata={"image/png": told} if told else {}))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("picture", outputs=outputs)])
    page, _ = nbconvert.HTMLExporter(config=config.Config(json.loads(SETTINGS.read_text()))).from_notebook_node(
        notebook
    )
    return page


def test_a_picture_says_what_it_is_of():
    told, silent = style.figure(200, 100), style.figure(200, 100)
    told.alt = 'Concentrations < 5 mg/L, and "none" above.'
    images = re.findall(r"<img[^>]*>", page_of(told, silent))
    assert len(images) == 2
    assert told.alt in html.unescape(images[0])
    assert "No description has been provided" in images[1]
    assert all('src="data:image/png;base64,' in image for image in images)

"""The style: meanings stay apart for every reader, and a picture leaks into nothing."""

import itertools

import matplotlib
import numpy as np
import pytest

import mefit as mf
from mefit import style

# What a reader without one kind of cone sees, as a matrix on linear RGB (Machado, Oliveira and Fernandes 2009,
# "A physiologically-based model for simulation of color vision deficiency", severity 1).
VISION: dict[str, np.ndarray] = {
    "three cones": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])  # sRGB, daylight D65


def _linear(colour: str) -> np.ndarray:
    code = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)


def contrast(colour: str, paper: str = "#FFFFFF") -> float:
    """Contrast ratio, 1 (none) to 21 (black on white), after the Web Content Accessibility Guidelines."""
    light, dark = sorted((float(_XYZ[1] @ _linear(c)) for c in (colour, paper)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def distinct(one: str, other: str, vision: str = "three cones") -> float:
    """Distance of two colours as `vision` sees them (Euclidean in CIELAB; 2 is just noticeable, 10 is plain)."""

    def lab(colour: str) -> np.ndarray:
        tristimulus = _XYZ @ np.clip(VISION[vision] @ _linear(colour), 0, 1) / np.array([0.9505, 1.0, 1.089])
        f = np.where(tristimulus > 0.008856, np.cbrt(tristimulus), 7.787 * tristimulus + 16 / 116)
        return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])

    return float(np.linalg.norm(lab(one) - lab(other)))


def test_the_measures_of_colour_know_black_and_white():
    assert contrast("#000000") == pytest.approx(21)
    assert contrast("#FFFFFF") == pytest.approx(1)
    assert distinct("#000000", "#FFFFFF") == pytest.approx(100, abs=0.1)
    # The textbook confusion: this red and this green are far apart, except for one who lacks the green cone.
    assert distinct("#D62728", "#7F8C1A") > 80 > 10 * distinct("#D62728", "#7F8C1A", "deuteranopia")


@pytest.mark.parametrize("vision", VISION)
def test_no_two_meanings_look_alike(vision):
    assert _nearest(itertools.combinations(style.MEANINGS, 2), vision)[0] > (12 if vision == "tritanopia" else 18)
    assert distinct(style.COLOUR["joint"], style.COLOUR["marginal"], vision) > 50


@pytest.mark.parametrize("vision", VISION)
def test_no_two_methods_look_alike_nor_like_a_meaning(vision):
    all_cones = vision == "three cones"
    assert _nearest(itertools.combinations(style.METHODS, 2), vision)[0] > (20 if all_cones else 14)
    assert _nearest(itertools.product(style.METHODS, style.MEANINGS), vision)[0] > (20 if all_cones else 12)


@pytest.mark.parametrize("vision", VISION)
def test_no_two_of_a_series_look_alike_nor_like_a_meaning(vision):
    assert _nearest(itertools.combinations((*style.SERIES, *style.MEANINGS), 2), vision)[0] > 12
    assert _nearest(itertools.combinations(style.SERIES, 2), vision)[0] > 18


def test_a_method_has_the_name_of_its_class():
    assert all(isinstance(getattr(mf, name), type) for name in style.METHODS)


def _nearest(pairs, vision):
    return min((distinct(style.COLOUR[a], style.COLOUR[b], vision), a, b) for a, b in pairs)


def test_every_colour_stands_out_from_paper():
    faint = {meaning: contrast(colour) for meaning, colour in style.COLOUR.items() if contrast(colour) < 2.9}
    assert set(faint) <= {"individual"}  # a crowd of thin lines, meant to lie behind the rest
    assert contrast(style.COLOUR["individual"]) > 2.5


def test_colour_is_never_alone():
    looks = {
        (str(line["linestyle"]), line["linewidth"], style.POINT[meaning]["marker"])
        for meaning, line in style.LINE.items()
    }
    assert len(looks) == len(style.COLOUR) == len(style.LINE) == len(style.POINT) == len(style.AREA) == 21


def test_text_is_legible_on_a_projector():
    with style.use():
        for name in ("font.size", "axes.labelsize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize"):
            assert matplotlib.rcParams[name] >= 12
        assert matplotlib.rcParams["lines.linewidth"] >= 2


def test_use_leaves_the_settings_of_others_alone():
    before = dict(matplotlib.rcParams)
    with pytest.raises(KeyError), style.use():
        raise KeyError
    assert dict(matplotlib.rcParams) == before


def test_a_picture_is_its_size_and_pyplot_does_not_know_it():
    from io import BytesIO

    from matplotlib import pyplot
    from PIL import Image

    picture = style.figure(500, 300)
    with style.use():
        picture.subplots().plot([0, 1], [0, 1], **style.LINE["truth"])
    assert Image.open(BytesIO(picture._repr_png_())).size == (500, 300)
    assert picture._repr_png_() == style.png(picture)
    assert pyplot.get_fignums() == []


def test_a_picture_has_ink_of_the_colour_asked_for():
    picture = style.figure(200, 200, layout=None)
    picture.add_axes((0, 0, 1, 1)).fill_between([0, 1], [1, 1], color=style.COLOUR["joint"])
    style.png(picture)
    middle = np.asarray(picture.canvas.buffer_rgba())[100, 100, :3]
    assert "#" + "".join(f"{int(v):02X}" for v in middle) == style.COLOUR["joint"]

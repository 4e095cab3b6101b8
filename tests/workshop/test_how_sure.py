"""The pictures of lesson 05b: what they draw, where, and what they leave out."""

import numpy as np
import pandas as pd

from mefit.inference.profile import Profile
from mefit.inference.standard_errors import Uncertainty
from workshop.studies import how_sure


def way(low, high):
    table = pd.DataFrame({"estimate": [1.0, 10.0], "unit": ["L", ""], "low": low, "high": high}, index=["v", "k"])
    return Uncertainty("some way", table, pd.DataFrame())


def spans(axes):
    """The ends of each bar, from the top to the bottom."""
    return [line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 2 and line.get_linewidth() == 4]


def test_intervals_are_drawn_as_they_are_and_cut_by_an_arrow_where_they_go_on():
    profile = Profile("k", 10.0, 8.5, 12.0, 0.95, pd.DataFrame())
    ways = {"one": way([0.5, 9.0], [1.5, 11.0]), "two": way([-50.0, 8.0], [1.2, 12.0]), "profile": profile}
    picture = how_sure.intervals(ways)
    v, k, *rest = picture.axes
    assert v.get_title("left") == "v (L)" and k.get_title("left") == "k" and not any(ax.get_visible() for ax in rest)
    assert [label.get_text() for label in v.get_yticklabels()] == ["one", "two", "profile"]
    np.testing.assert_allclose(spans(k), [[9, 11], [8, 12], [8.5, 12]])
    left = 1.0 - 3 * 0.5  # three half-widths of the first way
    np.testing.assert_allclose(spans(v), [[0.5, 1.5], [left, 1.2], [np.nan, np.nan]])
    assert [line.get_marker() for line in v.lines].count("<") == 1 and "<" not in [m.get_marker() for m in k.lines]


def test_the_scoreboard_counts_from_the_best_and_says_who_has_no_score():
    exact = pd.Series({"naive pooled": 99.0, "FO": 110.5, "FOCE": 100.0, "joint ML": np.nan})
    picture = how_sure.scoreboard({"study": exact.to_frame("exact -2LL")})
    (axes,) = picture.axes
    (dots,) = [line for line in axes.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(dots.get_xdata(), [0.01, 10.5, 0.01, np.nan])  # naive pooling is not what counts as best
    assert [text.get_text() for text in axes.texts] == ["no score"] and axes.texts[0].get_position()[1] == 3

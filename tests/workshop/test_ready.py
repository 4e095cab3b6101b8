"""The check at the end of lesson 00: what it measures, and what it says where something is wrong."""

import dataclasses

import pytest

from mefit.base.known_answers import Verdict
from workshop.studies import ready


def test_this_computer_is_ready():
    found = ready.check()
    assert found.problems == ()
    assert found.sentence.startswith("This computer is ready.")
    assert found.minus_two_log_likelihood == pytest.approx(ready.EXPECTED, abs=1e-3)
    assert found.second_seconds < found.first_seconds
    for text in (str(found), found._repr_html_()):
        assert "all 20 right" in text
        assert "This computer is ready." in text and "compiles, once" in text and found.versions["jax"] in text


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"python": (3, 10, 2)}, "Python 3.10 is too old"),
        ({"versions": {"jax": "1", "matplotlib": None}}, "Missing: matplotlib; run `python3 start.py setup`"),
        ({"minus_two_log_likelihood": 361.0}, "should end at 360.3066 ended at 361.0000"),
        ({"minus_two_log_likelihood": float("nan")}, "ended at nan"),
        ({"answers": Verdict(20, ("JAX 1.2.3 computes wrongly.",))}, "JAX 1.2.3 computes wrongly."),
    ],
)
def test_what_is_wrong_is_a_sentence(change, sentence):
    well = {"versions": {"jax": "1"}, "python": (3, 11, 0), "minus_two_log_likelihood": 360.30657}
    assert ready.judge(**well) == ()
    problems = ready.judge(**(well | change))
    assert len(problems) == 1 and sentence in problems[0]
    found = ready.Readiness({"jax": None}, 5.0, 0.02, 361.0, problems)
    assert found.sentence.startswith("This computer is NOT ready. ") and "missing" in str(found)


def test_a_slow_computer_is_ready_too():
    found = ready.Readiness({}, 5.0, 0.02, 360.3066, ())
    assert "slow" not in found.sentence
    slow = dataclasses.replace(found, first_seconds=90.0).sentence
    assert slow.startswith("This computer is ready. It is slow")

"""What the two groups of lesson 05 did to the same infants, out of sight of a reader who is to find out."""

from collections.abc import Mapping

import jax

import mefit as mf

POWER = {"A": 0.0, "B": 1.0}  # of weight, in clearance and volume: one group forgot it
_VIRTUAL = (("B", 1), ("A", 2), ("B", 3))  # whose model made a study, and its seed
_PLACE = 1  # of the real study among them


def line_up(fits: Mapping[str, mf.Fit], infants: mf.Population) -> list[mf.Population]:
    """The real study among three virtual ones by the models of both groups."""
    studies = [mf.simulate(fits[group].model, infants, jax.random.key(seed)) for group, seed in _VIRTUAL]
    studies.insert(_PLACE, infants)
    return studies

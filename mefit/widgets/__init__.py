"""Explorers: small interactive pictures, one a file. Each comes from a function that takes what it needs and returns an
`Explorer`; `Slider`, `Choice` and `Switch` are its controls. `panel` holds what they are all built from."""

from mefit.widgets.eight_schools import eight_schools
from mefit.widgets.panel import Choice, Control, Explorer, Slider, Switch
from mefit.widgets.pooling import pooling
from mefit.widgets.sparse_theophylline import sparse_theophylline
from mefit.widgets.three_patients import three_patients
from mefit.widgets.welcome import welcome

__all__ = [
    "Choice",
    "Control",
    "Explorer",
    "Slider",
    "Switch",
    "eight_schools",
    "pooling",
    "sparse_theophylline",
    "three_patients",
    "welcome",
]

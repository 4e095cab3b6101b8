"""Explorers of the lessons: small interactive pictures, one a file. Each comes from a function that takes what it needs
and returns a `mefit.widgets.Explorer`."""

from workshop.explorers.eight_schools import eight_schools
from workshop.explorers.pooling import pooling
from workshop.explorers.sparse_theophylline import sparse_theophylline
from workshop.explorers.three_patients import three_patients
from workshop.explorers.welcome import welcome

__all__ = ["eight_schools", "pooling", "sparse_theophylline", "three_patients", "welcome"]

"""Explorers: small interactive pictures, one a file. `panel` is what they are all built from."""

from mefit.widgets.eight_schools import eight_schools as eight_schools
from mefit.widgets.panel import Choice as Choice
from mefit.widgets.panel import Control as Control
from mefit.widgets.panel import Explorer as Explorer
from mefit.widgets.panel import Slider as Slider
from mefit.widgets.panel import Switch as Switch
from mefit.widgets.pooling import pooling as pooling
from mefit.widgets.sparse_theophylline import sparse_theophylline as sparse_theophylline
from mefit.widgets.three_patients import three_patients as three_patients
from mefit.widgets.welcome import welcome as welcome

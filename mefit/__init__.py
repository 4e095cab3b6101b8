"""mefit: nonlinear mixed-effects models and mixed-effect neural networks, for teaching and for work."""

import os as _os

# XLA's CPU compiler writes remarks such as "Algebraic simplifier is likely stuck" to stderr. They are harmless,
# and a learner must never see them. The level has to be set before jaxlib is loaded; a user's own setting wins.
_os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# The kit's matrices are tiny. OpenBLAS would share them out over threads, which on a busy laptop wait for each other:
# the same quadrature was measured at 2.5 ms or at 110 ms. It has to be set before SciPy is loaded.
_os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax as _jax

_jax.config.update("jax_enable_x64", True)

from . import datasets, dynamics, networks, pk
from .compare import LikelihoodRatio, compare, likelihood_ratio_test
from .compiling import keep_compiled
from .diagnostics import conditional_draws, predictions, random_effects_table, residuals, shrinkage
from .empirical_bayes import Newton, empirical_bayes
from .fit import Fit, Step, fit, iterate, log_likelihood
from .joint import JointMAP, JointMLE, NaivePooled, TwoStage
from .kernels import ComponentWise, LaplaceProposal, PriorProposal, RandomWalk
from .marginal import AGQ, FO, FOCE, ImportanceSampling, Laplace, MonteCarlo, Variational
from .model import Model, log_conditional, log_joint, log_random_effects, sample_random_effects, simulate
from .optimise import BFGS
from .outcomes import Event
from .parameters import constrain, covariance, diagonal_covariance, interval, log_prior, parameters, positive, real

# isort: split
from .parameters import scalar_covariance, simplex, unconstrain, weights
from .population import Population
from .predict import predict
from .prognosis import learn_effects, permutation_importance
from .regimens import Regimens, exposure, regimen, simulate_regimens
from .resampling import bootstrap, sir
from .saem import SAEM
from .sampling import NUTS, Draws
from .subject import Doses, Subject
from .training import Adam
from .uncertainty import Profile, Uncertainty, cross_products, observed_information, profile, sandwich, subject_scores
from .vpc import VPC, energy_distance, vpc

if _folder := _os.environ.get("MEFIT_COMPILED"):
    keep_compiled(_folder)

"""mefit: nonlinear mixed-effects models and mixed-effect neural networks, for teaching and for work."""

import importlib as _importlib
import os as _os
import warnings as _warnings
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from .base import xla as _xla

# XLA's CPU compiler writes remarks such as "Algebraic simplifier is likely stuck" to stderr. They are harmless,
# and a learner must never see them. The level has to be set before jaxlib is loaded; a user's own setting wins.
_os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# The kit's matrices are tiny. OpenBLAS would share them out over threads, which on a busy laptop wait for each other:
# the same quadrature was measured at 2.5 ms or at 110 ms. It has to be set before SciPy is loaded.
_os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# jaxlib 0.10.2 computes some programs wrongly on a CPU. XLA reads how to avoid it once, when its backend starts.
_too_late = _xla.switch_fusions_off(_os.environ, _xla.installed_jaxlib(), _xla.backend_is_running())
if _too_late:
    _warnings.warn(_too_late, stacklevel=2)

import jax as _jax

_jax.config.update("jax_enable_x64", True)

from .base import devices as _devices

_devices.cores_as_devices(_os.environ, _xla.backend_is_running())

if _TYPE_CHECKING:  # for editors and type checkers; a test holds that `_NAMES` and `_MODULES` say the same
    from . import datasets
    from .base.bfgs import BFGS
    from .base.keeping import keep_compiled
    from .base.newton import Newton
    from .base.processes import ProcessLost, connect
    from .base.tasks import for_each
    from .curves import dynamics, networks, pk
    from .data.distributed import distribute
    from .data.doses import Doses, PerDose
    from .data.population import Population
    from .data.subject import Subject
    from .decisions import dosing
    from .decisions.conformal import Conformal, conformal, conformal_quantile
    from .decisions.covariate_search import CovariateSearch, covariate_search
    from .decisions.covariates import learn_effects, permutation_importance
    from .decisions.design import Design, design
    from .decisions.exposure import exposure, exposure_table
    from .decisions.regimens import Regimens, regimen, simulate_regimens
    from .diagnosis.conditional import conditional_draws
    from .diagnosis.residuals import predictions, random_effects_table, residuals, shrinkage
    from .diagnosis.vpc import VPC, energy_distance, vpc
    from .effects.kernels import ComponentWise, PriorProposal, RandomWalk
    from .effects.model_encoder import ModelEncoder
    from .effects.modes import empirical_bayes
    from .effects.proposals import EncoderProposal, LaplaceProposal
    from .fitting.fit import fit, iterate, log_density, log_likelihood
    from .fitting.result import Fit, Step
    from .fitting.storage.store import load, save
    from .inference import scores
    from .inference.bootstrap_classes import ClassTest, bootstrap_classes
    from .inference.compare import LikelihoodRatio, compare, likelihood_ratio_test
    from .inference.completion import completed, delta_adjusted
    from .inference.complexity import Complexity, complexity
    from .inference.gaps import Gaps, gaps
    from .inference.how_many import how_many_classes
    from .inference.in_classes import responsibilities
    from .inference.individual import Individuals, individual
    from .inference.influence import Influence, influence
    from .inference.landmark import Landmark, landmark
    from .inference.predictive import Predictive, predictive
    from .inference.profile import Profile, profile
    from .inference.resampling import bootstrap, sir
    from .inference.standard_errors import Uncertainty, cross_products, observed_information, sandwich, subject_scores
    from .inference.starts import Starts, starts
    from .inference.taught import taught_encoder
    from .methods.adam import Adam
    from .methods.augmented import Augmented
    from .methods.em import EM
    from .methods.many import Fits, fit_many
    from .methods.method import Ending
    from .methods.nuts.draws import Draws
    from .methods.nuts.nuts import NUTS
    from .methods.saem.saem import SAEM
    from .methods.two_stage import TwoStage
    from .model import families
    from .model.covariate_effects import CovariateEffects
    from .model.deep_mixed import DeepMixedModel, deep_mixed_model
    from .model.densities import log_conditional, log_joint, log_random_effects, sample_random_effects
    from .model.free import constrain, log_prior, unconstrain
    from .model.gates import ConstantGate, LinearGate, NetworkGate
    from .model.hazard import hazard
    from .model.impossible import without_certain_rows
    from .model.mixture import MixtureOfExperts
    from .model.model import Model
    from .model.outcomes import Event
    from .model.parameters import (
        covariance,
        diagonal_covariance,
        interval,
        parameters,
        positive,
        real,
        scalar_covariance,
        simplex,
        weights,
    )
    from .model.predict import predict
    from .model.simulate import simulate
    from .objectives.amortised import Amortised
    from .objectives.joint import JointMAP, JointMLE, NaivePooled
    from .objectives.laplace import Laplace
    from .objectives.linearised import FO, FOCE
    from .objectives.quadrature import AGQ
    from .objectives.sampled import ImportanceSampling, MonteCarlo
    from .objectives.variational import Variational

# What is offered, by the module that it comes from, which is imported when it is first asked for: pandas, SciPy and
# NumPyro take longer to load than all else.
_NAMES = {
    "base.bfgs": "BFGS",
    "base.keeping": "keep_compiled",
    "base.newton": "Newton",
    "base.processes": "ProcessLost connect",
    "base.tasks": "for_each",
    "data.distributed": "distribute",
    "data.doses": "Doses PerDose",
    "data.population": "Population",
    "data.subject": "Subject",
    "decisions.conformal": "Conformal conformal conformal_quantile",
    "decisions.covariate_search": "CovariateSearch covariate_search",
    "decisions.covariates": "learn_effects permutation_importance",
    "decisions.design": "Design design",
    "decisions.exposure": "exposure exposure_table",
    "decisions.regimens": "Regimens regimen simulate_regimens",
    "diagnosis.conditional": "conditional_draws",
    "diagnosis.residuals": "predictions random_effects_table residuals shrinkage",
    "diagnosis.vpc": "VPC energy_distance vpc",
    "effects.kernels": "ComponentWise PriorProposal RandomWalk",
    "effects.model_encoder": "ModelEncoder",
    "effects.modes": "empirical_bayes",
    "effects.proposals": "EncoderProposal LaplaceProposal",
    "fitting.fit": "fit iterate log_density log_likelihood",
    "fitting.result": "Fit Step",
    "fitting.storage.store": "load save",
    "inference.bootstrap_classes": "ClassTest bootstrap_classes",
    "inference.compare": "LikelihoodRatio compare likelihood_ratio_test",
    "inference.completion": "completed delta_adjusted",
    "inference.complexity": "Complexity complexity",
    "inference.gaps": "Gaps gaps",
    "inference.how_many": "how_many_classes",
    "inference.in_classes": "responsibilities",
    "inference.individual": "Individuals individual",
    "inference.influence": "Influence influence",
    "inference.landmark": "Landmark landmark",
    "inference.predictive": "Predictive predictive",
    "inference.profile": "Profile profile",
    "inference.resampling": "bootstrap sir",
    "inference.standard_errors": "Uncertainty cross_products observed_information sandwich subject_scores",
    "inference.starts": "Starts starts",
    "inference.taught": "taught_encoder",
    "methods.adam": "Adam",
    "methods.augmented": "Augmented",
    "methods.em": "EM",
    "methods.many": "Fits fit_many",
    "methods.method": "Ending",
    "methods.nuts.draws": "Draws",
    "methods.nuts.nuts": "NUTS",
    "methods.saem.saem": "SAEM",
    "methods.two_stage": "TwoStage",
    "model.covariate_effects": "CovariateEffects",
    "model.deep_mixed": "DeepMixedModel deep_mixed_model",
    "model.densities": "log_conditional log_joint log_random_effects sample_random_effects",
    "model.free": "constrain log_prior unconstrain",
    "model.gates": "ConstantGate LinearGate NetworkGate",
    "model.hazard": "hazard",
    "model.impossible": "without_certain_rows",
    "model.mixture": "MixtureOfExperts",
    "model.model": "Model",
    "model.outcomes": "Event",
    "model.parameters": "covariance diagonal_covariance interval parameters "
    "positive real scalar_covariance simplex weights",
    "model.predict": "predict",
    "model.simulate": "simulate",
    "objectives.amortised": "Amortised",
    "objectives.joint": "JointMAP JointMLE NaivePooled",
    "objectives.laplace": "Laplace",
    "objectives.linearised": "FO FOCE",
    "objectives.quadrature": "AGQ",
    "objectives.sampled": "ImportanceSampling MonteCarlo",
    "objectives.variational": "Variational",
    "reports.report": "report",
}
_MODULES = (
    "curves.dynamics",
    "curves.networks",
    "curves.pk",
    "datasets",
    "decisions.dosing",
    "inference.scores",
    "model.families",
    "plots",
    "plots.style",
)
_FROM = {name: module for module, names in _NAMES.items() for name in names.split()}
_FROM |= {module.split(".")[-1]: module for module in _MODULES}
__all__ = sorted(_FROM.keys() - {"plots", "style", "report"})  # whose matplotlib the core runs without

if _folder := _os.environ.get("MEFIT_COMPILED"):
    from .base.keeping import keep_where_possible as _keep_where_possible

    if _in_the_way := _keep_where_possible(_folder):
        _warnings.warn(_in_the_way, stacklevel=2)


def __getattr__(name: str) -> _Any:
    """What is offered under this name, loaded now."""
    if name not in _FROM:
        raise AttributeError(f"module 'mefit' has no attribute {name!r}")
    module = _importlib.import_module(f"mefit.{_FROM[name]}")
    found = module if _FROM[name] in _MODULES else getattr(module, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_FROM})

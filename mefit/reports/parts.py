"""The sections of a report. What a fit does not allow is said in the place where it would stand."""

import dataclasses
import hashlib
import importlib.metadata
import inspect
import platform
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd

from ..data.population import Population
from ..diagnosis.residuals import is_discrete, random_effects_table, residuals
from ..diagnosis.residuals import shrinkage as shrinkage_table
from ..diagnosis.vpc import vpc
from ..fitting.about import typical
from ..fitting.result import Fit
from ..fitting.storage.store import model_source
from ..inference.influence import influence
from ..inference.standard_errors import observed_information
from ..model.numbers import eta_names
from ..model.parameters import parameters
from ..plots import diagnoses, fits, subjects
from . import page
from . import weak_points as weak
from .page import Section
from .weak_points import WeakPoint

_MOST_SUBJECTS = 24  # with a panel of their own


class Part(NamedTuple):
    """A section, and what it found to be weak."""

    section: Section
    weak: list[WeakPoint]


class Asked(NamedTuple):
    """What a report is made of."""

    fit: Fit
    compared: Mapping[str, Fit]
    key: Any
    key_words: str  # how the key is told to the reader
    samples: int


def attempted(title: str, make: Callable[[Any], Part], asked: Any) -> Part:
    """A part, or a section that says why there is none."""
    try:
        return make(asked)
    except ValueError as error:
        return Part(Section(title, [page.paragraph(f"Not to be had: {error}", "soft")]), [])


def by_outcome(fit: Fit) -> dict[str, Fit]:
    """The fit seen through each of its outcomes, by their names; itself, without a name, where there is one."""
    return {name: fit.outcome(name) for name in fit.population.outcomes} or {"": fit}


def fingerprint(population: Population) -> str:
    """The SHA-256 of `population.to_frame()` as CSV in UTF-8, which `mefit.save` keeps as data.csv."""
    return hashlib.sha256(population.to_frame().to_csv(index=False).encode("utf-8")).hexdigest()


# ---------------------------------------------------------------- data and model


def data(asked: Asked) -> Part:
    """What was read, a fingerprint of it, and a picture of all of it."""
    population = asked.fit.population
    report = population.report
    facts = pd.DataFrame({"": pd.Series(report.facts)}).rename_axis("")
    parts = [page.table(facts, "What was read", words=True)]
    parts += [page.sentence(note) for note in report.notes]
    parts.append(page.paragraph(f"SHA-256 of the event table that was fitted: {fingerprint(population)}"))
    for name, fit in by_outcome(asked.fit).items():
        picture = fits.population_curves(fit.population).figure
        parts.append(page.figure(picture, f"All data{f' of {name}' if name else ''}, a line per subject."))
    return Part(Section("Data", parts), [])


def model(asked: Asked) -> Part:
    """The source of the model, what was held fixed, and the settings of the method."""
    fit = asked.fit
    kind = type(fit.model)
    source = model_source(fit.model)
    text = source or f"{kind.__module__}.{kind.__qualname__}\n\n{inspect.getdoc(kind) or ''}"
    parts = [page.code(text)]
    if not source:
        parts.append(page.paragraph("A class whose source is not at hand, by its name and its own description."))
    priors = [name for name, parameter in parameters(fit.model).items() if parameter.prior is not None]
    if priors:
        parts.append(page.paragraph(f"Priors are declared for: {', '.join(priors)}."))
    held = ", ".join(fit.fixed) or "none"
    parts.append(page.paragraph(f"Parameters held fixed at their starting values: {held}."))
    parts.append(page.heading("Method"))
    parts.append(page.code("\n".join([f"mf.{type(fit.method).__name__}: {fit.method.label}", *_settings(fit.method)])))
    return Part(Section("Model and method", parts), [])


def _settings(method: Any) -> list[str]:
    """The fields of a method as lines of text; arrays by their shapes."""
    return [f"    {field.name} = {getattr(method, field.name)!r}" for field in dataclasses.fields(method)]


def estimates(asked: Asked) -> Part:
    """Estimates with intervals, and how they correlate."""
    fit = asked.fit
    frame = fit.to_frame()
    parts = [_estimates_table(frame, fit)]
    correlations = None
    if fit.draws is not None:
        extra = fit.table[["r_hat", "ess"]].dropna(how="all")
        parts.append(page.table(extra.rename(columns={"r_hat": "R-hat", "ess": "effective draws"}), "The chains"))
        frame = frame.join(extra)
    else:
        why = fit.table.attrs.get("no_standard_errors", "")
        if why:
            parts.append(page.sentence(why))
        try:
            uncertainty = observed_information(fit)
            sd = np.sqrt(np.diagonal(uncertainty.covariance))
            correlations = uncertainty.covariance / np.outer(sd, sd)
            caption = "Correlations of the estimates, by the observed information."
            parts.append(page.figure(diagnoses.correlation(uncertainty).figure, caption))
        except ValueError as error:
            parts.append(page.paragraph(f"Correlations of the estimates are not to be had: {error}", "soft"))
    return Part(Section("Estimates", parts, open=True), weak.of_the_estimates(frame, correlations))


def _estimates_table(frame: pd.DataFrame, fit: Fit) -> str:
    level = frame.attrs["level"]
    shown = pd.DataFrame(
        {
            "estimate" if fit.draws is None else "mean": frame.estimate,
            "unit": frame.unit,
            "SE" if fit.draws is None else "SD": frame.se,
            "RSE %": frame.rse.map("{:.0f}".format).replace("nan", ""),
            f"{100 * level:g}% from": frame.low,
            "to": frame.high,
            "shrinkage %": (100.0 * frame.shrinkage).map("{:.0f}".format).replace("nan", ""),
            "": frame.remark,
        }
    )
    shown.index = [
        f"SD of {name}" if kind == "sd" else name for name, kind in zip(frame.index, frame.kind, strict=True)
    ]
    kept = [name for name in shown if name in ("estimate", "mean") or shown[name].astype(str).replace("nan", "").any()]
    how = "intervals keep to the domain of each number" if fit.draws is None else "intervals hold so much of the draws"
    return page.table(shown[kept], f"Estimates by {fit.method.label}; {how}.")


def convergence(asked: Asked) -> Part:
    """How the fit ended, and its way there."""
    fit = asked.fit
    steps = fit.history
    said = [fit.ending.value] if fit.message == fit.ending.value else [fit.ending.value, fit.message]
    words = f"{': '.join(said)}. {steps[-1].iteration} iterations, {fit.evaluations} evaluations."
    parts = [page.sentence(words)]
    last = steps[-1]
    if np.isfinite(last.measure):
        parts.append(page.paragraph(f"At the end, {last.measure_name}: {last.measure:.3g}."))
    if fit.saem is not None:
        parts.append(
            page.figure(diagnoses.convergence(fit)[0].figure, "Every number of the table, iteration by iteration.")
        )
    elif fit.draws is not None:
        parts.append(page.figure(fits.posterior(fit)[0].figure, "Posterior densities, and the traces of the chains."))
    elif any(np.isfinite(step.minus_two_objective) for step in steps):
        parts.append(page.figure(fits.history(fit).figure, "What was maximised, iteration by iteration."))
    return Part(Section("Convergence", parts), weak.of_the_end(fit))


# ---------------------------------------------------------------- does it describe the data?


def goodness_of_fit(asked: Asked) -> Part:
    """Measured against predicted, and conditional weighted residuals, outcome by outcome."""
    parts: list[str] = []
    for name, fit in by_outcome(asked.fit).items():
        parts += [page.heading(name)] if name else []
        picture = diagnoses.goodness_of_fit(residuals(fit))[0].figure
        caption = "Measured against predicted, for the typical subject (PRED) and each subject (IPRED); CWRES."
        parts.append(page.figure(picture, caption))
        if is_discrete(fit.model, fit.population):
            words = (
                "These responses are counts or categories, whose CWRES are not normal even where the model is right: "
            )
            parts.append(page.paragraph(words + "look at NPDE and at the visual predictive check."))
    return Part(Section("Goodness of fit", parts), [])


def npde(asked: Asked) -> Part:
    """Normalised prediction distribution errors with their tests, outcome by outcome."""
    parts: list[str] = []
    found: list[WeakPoint] = []
    for name, fit in by_outcome(asked.fit).items():
        parts += [page.heading(name)] if name else []
        frame = residuals(fit, key=asked.key, samples=max(asked.samples, 200))
        tests = weak.npde_tests(frame.NPDE.to_numpy())
        found += weak.of_npde(tests)
        parts.append(
            page.figure(diagnoses.discrepancies(frame)[0].figure, "NPDE, which are N(0, 1) where the model is right.")
        )
        parts.append(page.table(tests, "Tests of NPDE; adjusted for three of them", digits=3))
    return Part(Section("NPDE", parts), found)


def predictive_check(asked: Asked) -> Part:
    """Percentiles of the data within those of simulated data, outcome by outcome."""
    parts: list[str] = []
    found: list[WeakPoint] = []
    for name, fit in by_outcome(asked.fit).items():
        parts += [page.heading(name)] if name else []
        check = vpc(fit, key=asked.key, samples=asked.samples)
        found += weak.of_vpc(check, fit.population.time_label)
        words = f"{asked.samples} simulated data sets; {100 * check.inside:.0f}% of the percentiles of the data lie in "
        caption = f"{words}their bands, where {100 * check.level:g}% are to be expected."
        parts.append(page.figure(diagnoses.vpc(check)[0].figure, caption))
        parts += [page.sentence(remark) for remark in check.remarks]
    return Part(Section("Visual predictive check", parts, open=True), found)


def individuals(asked: Asked) -> Part:
    """Curves of single subjects, outcome by outcome."""
    parts: list[str] = []
    count = len(asked.fit.population)
    chosen = np.unique(np.linspace(0, count - 1, min(count, _MOST_SUBJECTS)).astype(int)).tolist()
    if len(chosen) < count:
        parts.append(page.paragraph(f"{len(chosen)} of {count} subjects, evenly spread over the data."))
    for name, fit in by_outcome(asked.fit).items():
        parts += [page.heading(name)] if name else []
        picture = fits.individual_fits(fit, subjects=chosen)[0].figure
        parts.append(page.figure(picture, "Each subject's data, its own curve, and that of the typical subject."))
    return Part(Section("Individual fits", parts), [])


# ---------------------------------------------------------------- who differs, and why?


def random_effects(asked: Asked) -> Part:
    """Every subject's random effects, their shrinkage, and what they still follow."""
    fit = asked.fit
    if typical(fit):
        raise ValueError("there are no random effects.")
    parts = [page.figure(fits.random_effects(fit)[0].figure, "Every subject's random effects, before their prior.")]
    epsilon = np.nan
    found: list[WeakPoint] = []
    if not fit.population.outcomes:
        shares = shrinkage_table(fit)
        epsilon = float(shares.sd_form["epsilon"])
        shown = 100.0 * shares.rename(columns={"sd_form": "of the SD, %", "variance_form": "of the variance, %"})
        parts.append(page.table(shown, "Shrinkage", digits=3))
        covariates = list(fit.population.subjects.covariates)
        if covariates:
            caption = "Random effects against covariates: what the model has not explained."
            parts.append(page.figure(diagnoses.effects_against_covariates(fit)[0].figure, caption))
            found = weak.of_covariates(random_effects_table(fit), eta_names(fit.model), covariates)
    return Part(Section("Random effects and covariates", parts), [*weak.of_shrinkage(fit, epsilon), *found])


def influences(asked: Asked) -> Part:
    """What becomes of the estimates without each subject."""
    result = influence(asked.fit)
    parts = [page.figure(subjects.influence(result)[0].figure, "Each subject left out in turn, by one Newton step.")]
    parts.append(page.table(result.table.sort_values("cook", ascending=False).head(10), "The ten that count most", 3))
    parts += [page.sentence(remark) for remark in result.remarks]
    return Part(Section("Influence of single subjects", parts), weak.of_influence(result))


# ---------------------------------------------------------------- how it came about


def tried(asked: Asked) -> Part:
    """The fits that were handed in beside this one."""
    every = {"this fit": asked.fit, **asked.compared}
    rows = []
    for name, fit in every.items():
        likelihood = fit.method.likelihood
        row = {
            "fit": name,
            "model": type(fit.model).__name__,
            "method": fit.method.label,
            "parameters": fit.n_parameters,
            "-2LL": fit.minus_two_log_likelihood if likelihood else np.nan,
            "AIC": fit.aic if likelihood else np.nan,
            "BIC": fit.bic if likelihood else np.nan,
            "ending": fit.ending.value if fit.converged else f"NOT CONVERGED: {fit.message}",
        }
        rows.append(row)
    parts = [page.table(pd.DataFrame(rows).set_index("fit"), "Fits, the failed ones too", 7, words=True)]
    words = "-2LL is each method's own: only those of the same data and the same method compare."
    other = [name for name, fit in every.items() if fingerprint(fit.population) != fingerprint(asked.fit.population)]
    if other:
        words += f" Of other data than this fit: {', '.join(other)}."
    parts.append(page.paragraph(words))
    if not asked.compared:
        parts.append(page.paragraph("No other fits were handed in (compared=...)."))
    return Part(Section("What was tried", parts), [])


def versions(asked: Asked) -> Part:
    """What the fit and the report were made with."""
    packages = ("mefit", "jax", "jaxlib", "numpy", "scipy", "equinox", "numpyro", "diffrax", "pandas", "matplotlib")
    rows = {"Python": platform.python_version(), "system": platform.platform()}
    rows |= {name: importlib.metadata.version(name) for name in packages}
    parts = [page.table(pd.DataFrame({"version": pd.Series(rows)}).rename_axis("software"), "Versions", words=True)]
    key = asked.fit.key
    seed = "none was needed" if key is None else f"key data {np.asarray(jax.random.key_data(key)).tolist()}"
    parts.append(page.paragraph(f"Seed of the fit: {seed}. Seed of the simulations in this report: {asked.key_words}."))
    parts.append(page.paragraph(f"SHA-256 of the data: {fingerprint(asked.fit.population)}"))
    return Part(Section("Versions, seeds and data", parts), [])

"""What a step of the check-list shows: from whatever was made in it, the facts that a reviewer would ask for."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import mefit as mf
from mefit.decisions.choosing import Choice
from mefit.decisions.covariate_search import CovariateSearch
from mefit.decisions.regimens import Regimens
from mefit.diagnosis.vpc import VPC
from mefit.fitting.result import Fit
from mefit.inference.profile import Profile
from mefit.inference.standard_errors import Uncertainty
from mefit.model.numbers import eta_names

_FEW = 3  # observations, of which a person says little
_TOGETHER = 0.6  # a correlation of covariates that makes it hard to tell what explains what
_WIDE = 30.0  # percent, a relative standard error that deserves to be told
_SHRUNK = 0.3  # a share, above which pictures of individual estimates mislead


def read(population: Any) -> list[str]:
    """Subjects and observations, and what in the values wants a second look."""
    _expect(population, mf.Population, "read", "a population, as mf.Population.read_csv returns")
    frame = population.to_frame()
    seen = frame[(frame.EVID == 0) & frame.DV.notna()]
    each = seen.groupby("ID").size().reindex(population.ids, fill_value=0)
    facts = [
        f"{len(population)} subjects, {len(seen)} observations, {each.min()} to {each.max()} per subject; "
        f"{int((frame.EVID == 1).sum())} doses"
    ]
    few = int((each < _FEW).sum())
    if few:
        facts.append(f"{few} subjects have fewer than {_FEW} observations")
    zeros = int((seen.DV == 0).sum())
    if zeros and (seen.DV >= 0).all():
        facts.append(f"{zeros} observations are exactly 0: measured, or below the limit of the assay?")
    twice = int(seen.duplicated([name for name in ("ID", "TIME", "DVID") if name in seen]).sum())
    if twice:
        facts.append(f"{twice} observations repeat a time")
    return facts + _covariates(population)


def _covariates(population: mf.Population) -> list[str]:
    """Covariates that are the same for all, and pairs that go together."""
    if len(population) < 2:
        return ["one subject says nothing of how people differ: no random effect can be told from the typical value"]
    values = {
        name: np.asarray(value, float) for name, value in population.subjects.covariates.items() if np.ndim(value) == 1
    }
    facts = [f"{name} is the same in all: it explains nothing" for name, x in values.items() if np.ptp(x) == 0.0]
    varied = pd.DataFrame({name: x for name, x in values.items() if np.ptp(x) > 0.0})
    together = varied.corr()
    for i, one in enumerate(together):
        for other in list(together)[i + 1 :]:
            if abs(together.loc[one, other]) > _TOGETHER:
                facts.append(f"{one} and {other} go together, r = {together.loc[one, other]:.2f}")
    return facts


def look(picture: Any) -> list[str]:
    """What the axes of a picture are called: a picture without names shows nothing."""
    axes = picture.axes if isinstance(picture, Figure) else picture
    axes = [axes] if isinstance(axes, Axes) else list(axes) if isinstance(axes, Sequence | np.ndarray) else []
    if not axes or not all(isinstance(one, Axes) for one in axes):
        raise ValueError("The step 'look' takes a picture, or its axes; what was given is neither.")
    named = {(one.get_xlabel(), one.get_ylabel()) for one in axes if one.get_xlabel() or one.get_ylabel()}
    if not named:
        raise ValueError("The axes of this picture have no labels: set_xlabel and set_ylabel give them.")
    return [f"{y or 'density'} against {x}" for x, y in sorted(named)]


def model(fit: Any) -> list[str]:
    """How a fit ended, and which numbers it knows badly."""
    _expect(fit, Fit, "first model", "a fit")
    ended = "converged" if fit.converged else f"NOT converged: {fit.message}"
    facts = [f"{type(fit.model).__name__} by {fit.method.label}: -2LL {fit.minus_two_log_likelihood:.2f}, {ended}"]
    table = fit.to_frame()
    wide = table[table.rse > _WIDE]
    facts += [f"{name} has a relative standard error of {row.rse:.0f}%" for name, row in wide.iterrows()]
    shrunk = zip(eta_names(fit.model), fit.shrinkage, strict=False)
    return facts + [f"the shrinkage of {name} is {share:.0%}" for name, share in shrunk if share > _SHRUNK]


def wrong(findings: Any) -> list[str]:
    """Of a VPC how many percentiles are outside; of residuals their mean and SD; or the words of a report."""
    if isinstance(findings, VPC):
        total = len(findings.observed)
        outside = round(total * (1 - findings.inside))
        expected = total * (1 - findings.level)
        return [f"VPC: {outside} of {total} percentiles lie outside their bands; by chance about {expected:.0f} would"]
    if isinstance(findings, pd.DataFrame):
        kinds = [name for name in ("CWRES", "NPDE", "IWRES") if name in findings]
        if kinds:
            found = findings[kinds].agg(["mean", "std"])
            pairs = {name: (found[name]["mean"], found[name]["std"]) for name in kinds}
            return [f"{name}: mean {mean:.2f}, SD {sd:.2f} (0 and 1 hoped for)" for name, (mean, sd) in pairs.items()]
    if isinstance(findings, Sequence) and all(isinstance(words, str) for words in findings):
        return list(findings)
    raise ValueError("The step 'what is wrong' takes a VPC, a table of residuals, or the weak points of mf.report.")


def better(fits: Any) -> list[str]:
    """What the second fit of two gains."""
    if isinstance(fits, Mapping):
        fits = list(fits.values())
    if not (isinstance(fits, Sequence) and len(fits) >= 2 and all(isinstance(fit, Fit) for fit in fits)):
        raise ValueError("The step 'better model' takes two fits of the same data or more, the better one last.")
    first, last = fits[0], fits[-1]
    if first.population.n_observations != last.population.n_observations:
        raise ValueError("These fits saw different observations, so their likelihoods do not compare.")
    gain = first.minus_two_log_likelihood - last.minus_two_log_likelihood
    more = last.n_parameters - first.n_parameters
    bic = last.bic - first.bic
    verdict = "better" if bic < 0 else "no better"
    return [f"-2LL falls by {gain:.1f} for {more:+d} parameters; BIC {bic:+.1f}: {verdict} by BIC"]


def covariates(search: Any) -> list[str]:
    """What a search chose, and among how many."""
    _expect(search, CovariateSearch, "covariates", "what mf.covariate_search returns")
    tried = search.steps.relation.nunique()
    names = ", ".join(relation.label for relation in search.chosen) or "none"
    facts = [f"of {tried} relations: {names}"]
    for row in search.forest.itertuples():
        facts.append(f"{row.relation} at {row.value:.3g}: times {row.factor:.2f} ({row.low:.2f} to {row.high:.2f})")
    return facts


def sure(found: Any) -> list[str]:
    """Intervals: of a profile its one, of a table the widest three."""
    if isinstance(found, Profile):
        interval = f"{found.level:.0%} interval {found.low:.3g} to {found.high:.3g}"
        return [f"{found.parameter}: {found.estimate:.3g}, {interval}"]
    _expect(found, Uncertainty, "how sure", "a profile, or standard errors, a bootstrap or SIR")
    widest = found.table.sort_values("rse", ascending=False).head(3)
    return [found.method] + [
        f"{name}: {row.estimate:.3g}, interval {row.low:.3g} to {row.high:.3g}" for name, row in widest.iterrows()
    ]


def decision(answer: Any) -> list[str]:
    """What was chosen and its risks, or what was compared."""
    if isinstance(answer, Choice):
        facts = []
        for row in answer.table.itertuples():
            if answer.chosen[row.ID] == row.regimen:
                risks = f"inside {row.inside:.0%}, below {row.below:.0%}, above {row.above:.0%}"
                facts.append(f"{row.ID}: {row.regimen}; {risks}")
                facts += [f"beyond what was seen: {row.beyond}"] if row.beyond else []
        return facts or ["no regimen keeps the ceilings"]
    if isinstance(answer, Regimens):
        return [f"compared: {', '.join(map(str, answer.table.regimen.unique()))}"]
    if isinstance(answer, str) and answer.strip():
        return [answer.strip()]
    raise ValueError("The step 'decision' takes a choice of a dose, simulated regimens, or a sentence.")


def report(path: Any) -> list[str]:
    """Whether the page is there, and how large it is."""
    if not isinstance(path, str | os.PathLike) or not Path(path).is_file():
        raise ValueError(f"There is no file {str(path)!r}: mf.report(fit, path) writes it.")
    return [f"{Path(path).name}, {Path(path).stat().st_size / 1e6:.1f} MB"]


def _expect(thing: Any, kind: type, step: str, words: str) -> None:
    if not isinstance(thing, kind):
        raise ValueError(f"The step {step!r} takes {words}; what was given is a {type(thing).__name__}.")


SHOWN: dict[str, Callable[[Any], list[str]]] = {
    "read": read,
    "look": look,
    "first model": model,
    "what is wrong": wrong,
    "better model": better,
    "covariates": covariates,
    "how sure": sure,
    "decision": decision,
    "report": report,
}

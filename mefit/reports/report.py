"""`report`: a fit as one page."""

import datetime
import html
import os
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from ..base.files import write_whole
from ..base.stopping import Bar, bars
from ..fitting.result import Fit
from . import page, parts
from .weak_points import WeakPoint

_PARTS = {
    "Estimates": parts.estimates,
    "Visual predictive check": parts.predictive_check,
    "Goodness of fit": parts.goodness_of_fit,
    "NPDE": parts.npde,
    "Individual fits": parts.individuals,
    "Random effects and covariates": parts.random_effects,
    "Influence of single subjects": parts.influences,
    "Convergence": parts.convergence,
    "Model and method": parts.model,
    "Data": parts.data,
    "What was tried": parts.tried,
    "Versions, seeds and data": parts.versions,
}


def report(
    fit: Fit,
    path: str | os.PathLike,
    *,
    compared: Mapping[str, Fit] | Sequence[Fit] = (),
    key: Any = None,
    samples: int = 500,
    title: str | None = None,
    progress: bool = True,
) -> tuple[str, ...]:
    """Write a page that a reviewer can read, and return the weak points that it names, most of them computed.

    One file of HTML with its pictures inside: it opens offline, folds by section, and prints whole. It holds the data
    report, the source of the model, estimates with intervals, convergence, goodness of fit, NPDE, a visual predictive
    check, individual fits, random effects against covariates, the influence of single subjects, other fits, versions,
    seeds, and a hash of the data. What this fit does not allow is said in its place.

    - `compared`: other fits, by name or in order, the failed ones too.
    - `key`: of the simulations; `jax.random.key(1)` unless given, and told.
    - `samples`: how many data sets are simulated.
    - `progress=False` shows no lines of progress.

    Each weak point is told with its threshold and its source.

    **Raises:** ValueError for what is no fit; OSError for a place that cannot be written to.

        weak = mf.report(fit, "report.html", samples=200)
    """
    if not isinstance(fit, Fit):
        raise ValueError(f"mf.report takes what mf.fit returns; it got a {type(fit).__name__}.")
    if not isinstance(compared, Mapping):
        compared = {f"fit {k + 2}": other for k, other in enumerate(compared)}
    words = "jax.random.key(1)" if key is None else f"key data {np.asarray(jax.random.key_data(key)).tolist()}"
    key = jax.random.key(1) if key is None else key
    asked = parts.Asked(fit, compared, key, words, samples)
    made = []
    with bars(progress), Bar("report", total=len(_PARTS)) as bar:
        for name, make in _PARTS.items():
            made.append(parts.attempted(name, make, asked))
            bar.update()
    last_first = sorted(made, key=lambda part: part.section.title != "Convergence")  # whether to believe any of it
    found = [point for part in last_first for point in part.weak]
    title = title or f"{type(fit.model).__name__}, by {fit.method.label}"
    text = page.page(title, [_summary(fit), _weak(found)], [part.section for part in made])
    write_whole(path, lambda draft: draft.write_text(text, encoding="utf-8"))
    return tuple(point.words for point in found)


def _summary(fit: Fit) -> str:
    facts = [f"{len(fit.population)} subjects, {fit.population.n_observations} observations"]
    if np.isfinite(fit.minus_two_log_likelihood) and fit.method.likelihood:
        facts.append(f"-2 log L = {fit.minus_two_log_likelihood:.4f}")
        if fit.draws is None:
            facts.append(f"AIC {fit.aic:.2f}, BIC {fit.bic:.2f}")
    facts.append("converged" if fit.converged else f"NOT CONVERGED: {fit.message}")
    now = datetime.datetime.now(datetime.UTC)
    return page.paragraph("; ".join(facts) + ".") + page.paragraph(f"Written {now:%d %B %Y, %H:%M} UTC.", "soft")


def _weak(found: list[WeakPoint]) -> str:
    if not found:
        words = "None of the thresholds below was crossed, which is no proof that the model is right."
        return f'<section class="weak" aria-label="Weak points"><h2>Weak points</h2>{page.paragraph(words)}</section>'
    lines = [
        f"<li>{html.escape(point.words)} <span class='soft'>(Threshold: {html.escape(point.threshold)}.)</span></li>"
        for point in found
    ]
    return f'<section class="weak" aria-label="Weak points"><h2>Weak points</h2><ul>{"".join(lines)}</ul></section>'

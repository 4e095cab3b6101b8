"""How a fit is told to a person: the table of parameters, in a notebook and in a terminal."""

import html
from typing import NamedTuple

import jax
import numpy as np
import pandas as pd
from jaxtyping import Array, Float

from ..base.compiling import compiled
from ..methods.classes import class_table
from ..methods.nuts.draws import Draws
from ..model.densities import eta_size
from ..model.domains import Weights
from ..model.numbers import entries, numbers
from ..model.parameters import free_parameters, has_network, has_prior
from ..model.space import Space
from .about import final_objective
from .covariance import behind_the_maximum, covariance_of
from .fitted import Estimated, Fitted

# In the `attrs` of the table: the sentences that say why they are blank, and how far the maximum is
_NO_ERRORS = "no_standard_errors"
_BEHIND = "behind"


# ---------------------------------------------------------------- the table


@compiled
def _slopes(space: Space) -> tuple[Array, Array]:
    """The numbers of the table, and their derivatives in the free coordinates."""
    return numbers(space.template), jax.jacrev(lambda x: numbers(space.at(x)))(space.pack())


def parameter_table(fit: Estimated) -> pd.DataFrame:
    """One row a number: estimate, unit, standard error, relative standard error in percent, and a
    remark.

    Of draws from a posterior the estimate is the mean and the error the SD, followed by 2.5%,
    97.5%, r_hat and ess. Where there are no standard errors, `table.attrs["no_standard_errors"]`
    says why.
    """
    rows = entries(fit.model)
    values, slopes = _slopes(fit.space)
    slopes = np.asarray(slopes)
    error, why_none, behind = _standard_errors(fit, slopes)
    table = pd.DataFrame(
        {
            "estimate": np.asarray(values),
            "unit": [entry.unit for entry in rows],
            "se": error,
            "rse": error,
            "remark": _remarks(fit, slopes),
            "kind": [entry.kind for entry in rows],
        },
        index=pd.Index([entry.label for entry in rows], name="parameter"),
    )
    if fit.draws is not None:
        table = _with_draws(table, fit.draws)
    table["rse"] = 100.0 * table.se / table.estimate.abs()
    table.attrs[_NO_ERRORS] = why_none
    table.attrs[_BEHIND] = behind
    return table


def _remarks(fit: Estimated, slopes: np.ndarray) -> list[str]:
    """For each number: "fixed", or what became of the free coordinates that it depends on."""
    remarks = []
    for entry, slope in zip(entries(fit.model), slopes, strict=True):
        if entry.parameter in fit.fixed:
            remarks.append("fixed")
            continue
        words = {status for status, moves in zip(fit.status, slope != 0.0, strict=True) if moves and status}
        remarks.append(", ".join(sorted(words)))
    return remarks


def _standard_errors(fit: Estimated, slopes: np.ndarray) -> tuple[np.ndarray, str, str]:
    """The standard error of each number by the delta method, NaN where there is none; why there are none at all; and
    how far the maximum is, where the estimates are not at it."""
    none = np.full(len(slopes), np.nan)
    if not slopes.size:
        return none, "", ""
    if not fit.has_standard_errors:
        many = "no standard errors: many sets of weights of a network give the same curves."
        return none, many if fit.method.likelihood and has_network(fit.model, fit.fixed) else "", ""
    covariance, why_none = covariance_of(fit)
    variance = np.einsum("ip,pq,iq->i", slopes, np.nan_to_num(covariance), slopes)
    needs_what_is_missing = (np.abs(slopes) > 0) @ np.isnan(np.diagonal(covariance))
    missing = needs_what_is_missing | (variance == 0)
    return np.where(missing, np.nan, np.sqrt(variance)), why_none, behind_the_maximum(fit, covariance)


def _with_draws(table: pd.DataFrame, draws: Draws) -> pd.DataFrame:
    """The table with mean, SD, interval and diagnosis of draws from a posterior."""
    summary = draws.summary.reindex(table.index)
    table["estimate"] = summary["mean"].fillna(table.estimate)
    table["se"] = summary["sd"]
    columns = ["2.5%", "97.5%", "r_hat", "ess"]
    table[columns] = summary[columns]
    return table


# ---------------------------------------------------------------- its sections


_MOST_ENTRIES = 12  # of an array whose numbers are shown one by one though nothing says how sure they are


class Section(NamedTuple):
    """A table of a report: its title, the head of each column, and rows of text."""

    title: str
    head: list[str]
    rows: list[list[str]]


def _number(value: float, digits: int = 4) -> str:
    return f"{value:.{digits}g}" if np.isfinite(value) else ""


def _percent(value: float) -> str:
    return f"{value:z.0f}%" if np.isfinite(value) and abs(value) < 1e6 else ""


def _sections(fit: Fitted) -> list[Section]:
    if fit.draws is not None:
        return _posterior_sections(fit.table)
    sections = [_values(fit)]
    if eta_size(fit.model):
        sections.append(_effects(fit))
    correlations = fit.table[fit.table.kind == "correlation"]
    if len(correlations):
        sections.append(_correlations(correlations))
    if fit.responsibilities is not None:
        sections.append(_classes(fit.responsibilities))
    filled = [_filled(section) for section in sections]
    return [section for section in filled if len(section.head) > 1]


def _filled(section: Section) -> Section:
    """Without the columns that say nothing, such as standard errors that nobody can have."""
    kept = [k for k in range(len(section.head)) if k == 0 or any(row[k] for row in section.rows)]
    rows = [[row[k] for k in kept] for row in section.rows]
    return Section(section.title, [section.head[k] for k in kept], rows)


def _values(fit: Fitted) -> Section:
    """The parameters that are numbers; of networks, and of long arrays without errors, how many numbers they have."""
    rows = []
    values = fit.table[fit.table.kind == "value"]
    parameters = np.array([str(name).partition("[")[0] for name in values.index])
    long = [name for name in dict.fromkeys(parameters) if _is_long(values.se[parameters == name])]
    for name in long:
        rows.append([name, f"{np.sum(parameters == name)} numbers, in fit.table", "", "", "", ""])
    for name, row in values[~np.isin(parameters, long)].iterrows():
        error = [_number(row.se, 2), _percent(row.rse)]
        rows.append([str(name), _number(row.estimate), row.unit, *error, row.remark])
    for name, parameter in free_parameters(fit.model).items():
        if isinstance(parameter.domain, Weights):
            leaves = jax.tree.leaves(parameter.domain.free(getattr(fit.model, name)))
            count = sum(np.size(leaf) for leaf in leaves)
            rows.append([name, f"{count} weights", "", "", "", "fixed" if name in fit.fixed else ""])
    return Section("Parameters", ["", "estimate", "unit", "SE", "RSE", ""], rows)


def _is_long(errors: pd.Series) -> bool:
    """Are these the standard errors of an array that is too long to be shown without any?"""
    return errors.size > _MOST_ENTRIES and bool(errors.isna().all())


def _effects(fit: Fitted) -> Section:
    """The SD of each random effect with its shrinkage; its shrinkage alone, where SDs are not
    declared one by one."""
    # Then SD(EBE) / omega compares two accidents
    collapsed = not (fit.converged or fit.method.likelihood)
    shrinkage = ["" if collapsed else _percent(100.0 * share) for share in fit.shrinkage]
    sds = fit.table[fit.table.kind == "sd"]
    if fit.responsibilities is not None:
        shrinkage = [""] * len(sds)
    if len(sds) != len(shrinkage):
        rows = [[f"eta {i + 1}", share] for i, share in enumerate(shrinkage)]
        return Section("Random effects", ["", "shrinkage"], rows)
    # sqrt(exp(SD^2) - 1), the coefficient of variation of exp(eta), is beyond reading long before
    # an SD of 10
    cvs = 100.0 * np.sqrt(np.expm1(np.minimum(sds.estimate, 10.0) ** 2))
    rows = []
    for (name, row), cv, share in zip(sds.iterrows(), cvs, shrinkage, strict=True):
        rows.append([str(name), _number(row.estimate), _number(row.se, 2), _percent(cv), share, row.remark])
    return Section("Random effects", ["", "SD", "SE", "CV (if log-normal)", "shrinkage", ""], rows)


def _classes(responsibilities: Float[np.ndarray, "N C"]) -> Section:
    """How many subjects each class of a mixture holds, and how surely."""
    table = class_table(responsibilities)
    rows = []
    for name, row in table.iterrows():
        rows.append([str(name), _percent(100.0 * row.share), f"{row.assigned:.0f}", _percent(100.0 * row.certainty)])
    return Section("Classes", ["", "share", "subjects", "certainty"], rows)


def _correlations(table: pd.DataFrame) -> Section:
    rows = []
    for name, row in table.iterrows():
        rows.append([str(name), _number(row.estimate, 3), _number(row.se, 2), row.remark])
    return Section("Correlations of the random effects", ["", "estimate", "SE", ""], rows)


def _posterior_sections(table: pd.DataFrame) -> list[Section]:
    """The tables of a posterior."""
    titles = {"value": "Parameters", "sd": "SDs of the random effects", "correlation": "Their correlations"}
    head = ["", "mean", "unit", "SD", "95% interval", "R-hat", "ESS", ""]
    sections = []
    for kind, title in titles.items():
        rows = [_posterior_row(str(name), row) for name, row in table[table.kind == kind].iterrows()]
        if rows:
            sections.append(Section(title, head, rows))
    return sections


def _posterior_row(name: str, row: pd.Series) -> list[str]:
    interval = f"{row['2.5%']:.4g} to {row['97.5%']:.4g}" if np.isfinite(row["2.5%"]) else ""
    diagnosis = [f"{row.r_hat:.3f}", f"{row.ess:.0f}"] if np.isfinite(row.r_hat) else ["", ""]
    return [name, _number(row.estimate), row.unit, _number(row.se, 2), interval, *diagnosis, row.remark]


# ---------------------------------------------------------------- its sentences


class Headline(NamedTuple):
    """The sentences above the tables: what was fitted to what, how well, and how it ended."""

    title: str
    criteria: str
    ending: str


def _headline(fit: Fitted) -> Headline:
    maximum = " (maximum a posteriori)" if has_prior(fit.model, fit.fixed) and fit.draws is None else ""
    criteria = _criteria(fit)
    if maximum and np.isfinite(fit.log_prior):
        criteria += f", log prior = {fit.log_prior:.4f}"
    size = f"{len(fit.population)} subjects, {fit.population.n_observations} observations"
    verdict = "Converged" if fit.converged else "NOT CONVERGED"
    detail = "" if fit.message == "converged" else f": {fit.message}"
    effort = f"{fit.history[-1].iteration} iterations, {fit.evaluations} evaluations"
    return Headline(
        title=f"{fit.method.label}{maximum}: {type(fit.model).__name__}, {size}",
        criteria=criteria,
        ending=f"{verdict}{detail} ({effort}).",
    )


def _criteria(fit: Fitted) -> str:
    """The likelihood, and the criteria made of it."""
    if np.isnan(fit.minus_two_log_likelihood):
        return "log-likelihood not computed"
    value = f"{fit.minus_two_log_likelihood:.4f}"
    if fit.draws is not None:
        objective = final_objective(fit.method)
        ruler = fit.method.label if objective is None else objective.label
        chains = fit.draws.frame.chain.nunique()
        diverged = int(np.sum(fit.draws.diverged))
        return (
            f"{len(fit.draws)} draws of {chains} chains, {diverged} divergences; "
            f"-2LL at the posterior mean = {value} (by {ruler}; no AIC, no BIC)"
        )
    if fit.method.likelihood:
        return f"-2LL = {value}, AIC = {fit.aic:.2f}, BIC = {fit.bic:.2f}"
    return f"-2 x objective = {value} (not a likelihood of theta: no AIC, BIC or SE)"


def _notes(fit: Fitted) -> list[str]:
    """The sentences below the tables: what a person should heed."""
    told = (fit.table.attrs.get(name, "") for name in (_NO_ERRORS, _BEHIND))
    return [*fit.remarks, *filter(None, told)]


# ---------------------------------------------------------------- its two forms


def text_report(fit: Fitted) -> str:
    """The report for a terminal."""
    blocks = ["\n".join(_headline(fit))]
    blocks += [_aligned(section) for section in _sections(fit)]
    notes = _notes(fit)
    if notes:
        blocks.append("\n".join(f"Note: {note}" for note in notes))
    return "\n\n".join(blocks)


def _aligned(section: Section) -> str:
    """A section as lines of text: the first column to the left, the others to the right."""
    lines = [section.head, *section.rows]
    widths = [max(len(line[k]) for line in lines) for k in range(len(section.head))]
    texts = [section.title]
    for line in lines:
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        texts.append("  ".join(cells).rstrip())
    return "\n".join(texts)


def html_report(fit: Fitted) -> str:
    """The report for a notebook."""
    headline = _headline(fit)
    colour = "inherit" if fit.converged else "#b3003c"
    parts = [
        f"<b>{html.escape(headline.title)}</b><br>{html.escape(headline.criteria)}<br>"
        f"<span style='color:{colour}'>{html.escape(headline.ending)}</span>"
    ]
    for section in _sections(fit):
        cells = [row[1:] for row in section.rows]
        labels = [row[0] for row in section.rows]
        frame = pd.DataFrame(cells, index=labels, columns=section.head[1:])
        parts.append(f"<div><i>{section.title}</i></div>{frame.to_html(border=0)}")
    parts += [f"<p>Note: {html.escape(note)}</p>" for note in _notes(fit)]
    return "<div class='mefit-fit'>" + "".join(parts) + "</div>"

"""How a fit is told to a person: the table of parameters, in a notebook and in a terminal."""

import html
from typing import Any

import jax
import numpy as np
import pandas as pd
from jaxtyping import Array

from ..base.compiling import compiled
from ..model.densities import eta_size
from ..model.domains import Weights
from ..model.model import Model
from ..model.numbers import entries, numbers
from ..model.parameters import free_parameters, has_prior
from ..model.space import get_free, set_free


@compiled
def _slopes(model: Model, fixed: tuple[str, ...]) -> tuple[Array, Array]:
    return numbers(model), jax.jacrev(lambda x: numbers(set_free(model, fixed, x)))(get_free(model, fixed))


def parameter_table(fit: Any) -> pd.DataFrame:
    """One row a number: estimate, unit, standard error, relative standard error in percent, and a remark.

    Of draws from a posterior the estimate is the mean and the error the SD, followed by 2.5%, 97.5%, r_hat and ess.
    """
    found = entries(fit.model)
    estimate, jacobian = map(np.asarray, _slopes(fit.model, fit.fixed))
    error = np.full(len(found), np.nan)
    remarks = ["fixed" if entry.parameter in fit.fixed else "" for entry in found]
    if jacobian.size:
        for i, moves in enumerate(jacobian != 0.0):  # what became of the free coordinates that a number depends on
            words = {status for status, moved in zip(fit.status, moves, strict=True) if moved and status}
            remarks[i] = remarks[i] or ", ".join(sorted(words))
        if fit.has_standard_errors:
            variance = np.einsum("ip,pq,iq->i", jacobian, np.nan_to_num(fit.covariance), jacobian)
            missing = ((np.abs(jacobian) > 0) @ np.isnan(np.diagonal(fit.covariance))) | (variance == 0)
            error = np.where(missing, np.nan, np.sqrt(variance))
    columns = {"estimate": estimate, "unit": [e.unit for e in found], "se": error, "rse": error}
    columns |= {"remark": remarks, "kind": [e.kind for e in found]}
    table = pd.DataFrame(columns, index=pd.Index([e.label for e in found], name="parameter"))
    if fit.draws is not None:
        summary = fit.draws.summary.reindex(table.index)
        table["estimate"], table["se"] = summary["mean"].fillna(table.estimate), summary["sd"]
        table[["2.5%", "97.5%", "r_hat", "ess"]] = summary[["2.5%", "97.5%", "r_hat", "ess"]]
    table["rse"] = 100.0 * table.se / table.estimate.abs()
    return table


def _number(value: float, digits: int = 4) -> str:
    return f"{value:.{digits}g}" if np.isfinite(value) else ""


def _percent(value: float) -> str:
    return f"{value:.0f}%" if np.isfinite(value) and abs(value) < 1e6 else ""


def _sections(fit: Any) -> list[tuple[str, list[str], list[list[str]]]]:
    """The tables of a report: a title, the head of each column, and rows of text."""
    table = fit.table
    if fit.draws is not None:
        return _posterior_sections(table)
    values, sds, correlations = (table[table.kind == kind] for kind in ("value", "sd", "correlation"))
    rows = [[n, _number(r.estimate), r.unit, _number(r.se, 2), _percent(r.rse), r.remark] for n, r in values.iterrows()]
    sections = [("Parameters", ["", "estimate", "unit", "SE", "RSE", ""], rows)]
    for name, parameter in free_parameters(fit.model).items():
        if isinstance(parameter.domain, Weights):
            count = sum(np.size(leaf) for leaf in jax.tree.leaves(parameter.domain.free(getattr(fit.model, name))))
            rows.append([name, f"{count} weights", "", "", "", "fixed" if name in fit.fixed else ""])
    k = eta_size(fit.model)
    collapsed = not (fit.converged or fit.method.likelihood)  # then SD(EBE) / omega compares two accidents
    shrinkage = ["" if collapsed else _percent(100.0 * s) for s in fit.shrinkage]
    if len(sds) == k and k:
        # sqrt(exp(SD^2) - 1), the coefficient of variation of exp(eta), is beyond reading long before an SD of 10
        cvs = 100.0 * np.sqrt(np.expm1(np.minimum(sds.estimate, 10.0) ** 2))
        rows = [
            [name, _number(r.estimate), _number(r.se, 2), _percent(cv), s, r.remark]
            for (name, r), cv, s in zip(sds.iterrows(), cvs, shrinkage, strict=True)
        ]
        sections.append(("Random effects", ["", "SD", "SE", "CV (if log-normal)", "shrinkage", ""], rows))
    elif k:
        sections.append(("Random effects", ["", "shrinkage"], [[f"eta {i + 1}", s] for i, s in enumerate(shrinkage)]))
    if len(correlations):
        rows = [[name, _number(r.estimate, 3), _number(r.se, 2), r.remark] for name, r in correlations.iterrows()]
        sections.append(("Correlations of the random effects", ["", "estimate", "SE", ""], rows))
    return sections


def _posterior_sections(table: pd.DataFrame) -> list[tuple[str, list[str], list[list[str]]]]:
    """The tables of a posterior."""
    titles = {"value": "Parameters", "sd": "SDs of the random effects", "correlation": "Their correlations"}
    head = ["", "mean", "unit", "SD", "95% interval", "R-hat", "ESS", ""]
    sections = []
    for kind, title in titles.items():
        rows = []
        for name, r in table[table.kind == kind].iterrows():
            interval = f"{r['2.5%']:.4g} to {r['97.5%']:.4g}" if np.isfinite(r["2.5%"]) else ""
            sure = [f"{r.r_hat:.3f}", f"{r.ess:.0f}"] if np.isfinite(r.r_hat) else ["", ""]
            rows.append([str(name), _number(r.estimate), r.unit, _number(r.se, 2), interval, *sure, r.remark])
        if rows:
            sections.append((title, head, rows))
    return sections


def _headline(fit: Any) -> list[str]:
    """The sentences above and below the tables."""
    maximum = " (maximum a posteriori)" if has_prior(fit.model, fit.fixed) and fit.draws is None else ""
    size = f"{len(fit.population)} subjects, {fit.population.n_observations} observations"
    if fit.draws is not None:
        method: Any = fit.method
        chains, diverged = fit.draws.frame.chain.nunique(), int(np.sum(fit.draws.diverged))
        criteria = f"{len(fit.draws)} draws of {chains} chains, {diverged} divergences; -2LL at the posterior mean = "
        criteria += f"{fit.minus_two_log_likelihood:.4f} (by {method.likelihood_by.label}; no AIC, no BIC)"
    elif fit.method.likelihood:
        criteria = f"-2LL = {fit.minus_two_log_likelihood:.4f}, AIC = {fit.aic:.2f}, BIC = {fit.bic:.2f}"
    else:
        criteria = f"-2 x objective = {fit.minus_two_log_likelihood:.4f} (not a likelihood of theta: no AIC, BIC or SE)"
    if maximum:
        criteria += f", log prior = {fit.log_prior:.4f}"
    ended = "Converged" if fit.converged else "NOT CONVERGED"
    detail = "" if fit.message == "converged" else f": {fit.message}"
    ended += f"{detail} ({fit.history[-1].iteration} iterations, {fit.evaluations} evaluations)."
    return [f"{fit.method.label}{maximum}: {type(fit.model).__name__}, {size}", criteria, ended]


def text_report(fit: Any) -> str:
    """The report for a terminal."""
    blocks = ["\n".join(_headline(fit))]
    for title, columns, rows in _sections(fit):
        labels, *numbers = zip(columns, *rows, strict=True)
        padded = [[c.ljust(max(map(len, labels))) for c in labels]]
        padded += [[c.rjust(max(map(len, column))) for c in column] for column in numbers]
        blocks.append("\n".join([title, *("  ".join(line).rstrip() for line in zip(*padded, strict=True))]))
    if fit.remarks:
        blocks.append("\n".join(f"Note: {remark}" for remark in fit.remarks))
    return "\n\n".join(blocks)


def html_report(fit: Any) -> str:
    """The report for a notebook."""
    head, criteria, ended = (html.escape(line) for line in _headline(fit))
    colour = "inherit" if fit.converged else "#b3003c"
    parts = [f"<b>{head}</b><br>{criteria}<br><span style='color:{colour}'>{ended}</span>"]
    for title, columns, rows in _sections(fit):
        frame = pd.DataFrame([row[1:] for row in rows], [row[0] for row in rows], columns[1:])
        parts.append(f"<div><i>{title}</i></div>{frame.to_html(border=0)}")
    parts += [f"<p>{html.escape(remark)}</p>" for remark in fit.remarks]
    return "<div class='mefit-fit'>" + "".join(parts) + "</div>"

"""The estimates as a table to take along: a data frame, CSV, LaTeX, and HTML that a word processor opens."""

import html
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..base.asked import require_share
from ..model.densities import eta_size
from ..model.domains import Weights
from ..model.links import intervals
from ..model.numbers import eta_names
from ..model.parameters import free_parameters
from .fitted import Fitted

_SHRINKAGE = "shrinkage"  # in the `attrs`: of random effects whose SD has no row of its own


def estimates_frame(fit: Fitted, level: float | int = 0.95) -> pd.DataFrame:
    """A row for each number: `estimate`, `unit`, `se`, `rse` (percent), `low` and `high`, `shrinkage` (a share),
    `kind`, `remark`.

    `low` and `high` are the ends of the interval that holds `level` of the normal law around the estimate, on an
    unbounded scale of the number (a logarithm, a logit) and carried back; after NUTS, that of the draws.
    """
    require_share(level)
    told = fit.table
    table = told[["estimate", "unit", "se", "rse"]].copy()
    if fit.draws is None:
        low, high = intervals(fit.model, told.estimate.to_numpy(), told.se.to_numpy(), level)
    else:
        values = fit.draws.frame.drop(columns="chain").reindex(columns=told.index)
        low, high = np.quantile(values.to_numpy(), [0.5 - 0.5 * level, 0.5 + 0.5 * level], axis=0)
    table["low"] = low
    table["high"] = high
    is_sd = (told.kind == "sd").to_numpy()
    table[_SHRINKAGE] = np.nan
    table.attrs = {"level": level, _SHRINKAGE: {}}
    collapsed = not (fit.converged or fit.method.likelihood)  # then SD(EBE) / omega compares two accidents
    if is_sd.sum() == eta_size(fit.model):
        table.loc[is_sd, _SHRINKAGE] = np.nan if collapsed else fit.shrinkage
    elif not collapsed:
        table.attrs[_SHRINKAGE] = dict(zip(eta_names(fit.model), fit.shrinkage.tolist(), strict=False))
    table["kind"] = told.kind
    table["remark"] = told.remark
    return table


class _Cells(NamedTuple):
    """A table as text."""

    head: list[str]
    rows: list[list[str]]
    notes: list[str]


def _cells(fit: Fitted, level: float | int) -> _Cells:
    table = estimates_frame(fit, level)
    of_draws = fit.draws is not None
    head = ["parameter", "mean" if of_draws else "estimate", "unit", "SD" if of_draws else "SE", "RSE (%)"]
    head += [f"{100 * level:g}% interval", "shrinkage (%)", ""]
    rows = []
    for name, row in table.iterrows():
        ends = f"{_number(row.low, 3)} to {_number(row.high, 3)}" if np.isfinite(row.low) else ""
        label = f"SD of {name}" if row.kind == "sd" else str(name)
        numbers = [_number(row.se, 3), _number(row.rse, 2), ends, _number(100.0 * row[_SHRINKAGE], 2)]
        rows.append([label, _number(row.estimate, 4), row.unit, *numbers, row.remark])
    kept = [k for k in range(len(head)) if k < 2 or any(row[k] for row in rows)]
    notes = _notes(fit, table)
    return _Cells([head[k] for k in kept], [[row[k] for k in kept] for row in rows], notes)


def _notes(fit: Fitted, table: pd.DataFrame) -> list[str]:
    value = fit.minus_two_log_likelihood
    facts = [fit.method.label, f"{len(fit.population)} subjects", f"{fit.population.n_observations} observations"]
    if np.isfinite(value):
        facts.append(f"-2 log L = {value:.4f}")
    notes = [", ".join(facts) + ".", *([] if fit.converged else [f"Not converged: {fit.message}."])]
    alone = {name: share for name, share in table.attrs[_SHRINKAGE].items() if np.isfinite(share)}
    if alone:
        notes.append("Shrinkage: " + ", ".join(f"{name} {100 * share:.0f}%" for name, share in alone.items()) + ".")
    for name, parameter in free_parameters(fit.model).items():
        if isinstance(parameter.domain, Weights):
            count = parameter.domain.size(getattr(fit.model, name))
            notes.append(f"{name}: a network of {count} weights{', held fixed' if name in fit.fixed else ''}.")
    return notes


def _number(value: float, digits: int) -> str:
    """So many digits that count, without an exponent where it can be read so: 1230 for 1234 to three."""
    if not np.isfinite(value):
        return ""
    if value != 0.0 and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.{digits}g}"
    rounded = float(f"{value:.{digits}g}")
    decimals = max(0, digits - 1 - int(np.floor(np.log10(abs(rounded))))) if rounded else 0
    return f"{rounded:.{decimals}f}"


# ---------------------------------------------------------------- its forms


_LATEX = {
    "\\": r"\textbackslash{}",
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "µ": r"\textmu{}",
    "²": r"\textsuperscript{2}",
}


def latex_table(fit: Fitted, level: float | int) -> str:
    """The estimates as a `tabular` with the rules of the package booktabs."""
    cells = _cells(fit, level)
    left = {"parameter", "unit", ""}
    columns = "".join("l" if head in left else "r" for head in cells.head)
    lines = ["% needs \\usepackage{booktabs}", f"\\begin{{tabular}}{{{columns}}}", "\\toprule"]
    lines += [" & ".join(_escaped(cell) for cell in cells.head) + r" \\", "\\midrule"]
    lines += [" & ".join(_escaped(cell) for cell in row) + r" \\" for row in cells.rows]
    lines += ["\\bottomrule"]
    span = len(cells.head)
    lines += [f"\\multicolumn{{{span}}}{{l}}{{\\footnotesize {_escaped(note)}}} \\\\" for note in cells.notes]
    return "\n".join([*lines, "\\end{tabular}", ""])


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)


def html_table(fit: Fitted, level: float | int) -> str:
    """The estimates as an HTML page of one table, each cell with its own style, as word processors read them."""
    cells = _cells(fit, level)
    left = [head in ("parameter", "unit", "") for head in cells.head]
    rule = "border-bottom:1pt solid black"

    def line(texts: list[str], tag: str, more: str) -> str:
        marks = []
        for text, is_left in zip(texts, left, strict=True):
            side = "left" if is_left else "right"
            marks.append(f'<{tag} style="text-align:{side};padding:2pt 8pt;{more}">{html.escape(text)}</{tag}>')
        return f"<tr>{''.join(marks)}</tr>"

    body = [line(row, "td", rule if row is cells.rows[-1] else "") for row in cells.rows]
    head = line(cells.head, "th", f"border-top:1pt solid black;{rule}")
    notes = "".join(f'<p style="font-size:9pt">{html.escape(note)}</p>' for note in cells.notes)
    table = f'<table style="border-collapse:collapse;font-family:serif;font-size:11pt">{head}{"".join(body)}</table>'
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Estimates</title></head>\n'
        f"<body>{table}{notes}</body></html>\n"
    )

"""Small real data sets, and seeded simulators of textbook situations. Each function tells its source and its units."""

from importlib.resources import files
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import PRNGKeyArray

from ..data.doses import Doses
from ..data.population import Population
from ..data.subject import Subject


def _csv(name: str) -> pd.DataFrame:
    with (files(__name__) / name).open(encoding="utf-8") as file:
        return pd.read_csv(file)


def theophylline(per_kg: bool = True) -> Population:
    """Theophylline in 12 adults after one oral dose: 132 concentrations (mg/L) over 25 h, covariate wt (kg).

    The dose is in mg/kg, to go with volumes and clearances for each kg; with `per_kg=False` it is in mg.
    Source: Boeckmann, Sheiner and Beal (1994), NONMEM Users Guide, Part V.
    """
    events = _csv("theoph_events.csv")
    if per_kg:
        table = _csv("theoph.csv")
        events.loc[events["EVID"] == 1, "AMT"] = table.groupby("Subject", sort=False)["Dose"].first().to_numpy()
    labels: dict[str, Any] = {"time_label": "time (h)", "y_label": "theophylline (mg/L)"}
    return Population.from_frame(events, covariates={"wt": "WT"}, **labels)


def sleepstudy() -> Population:
    """Mean reaction time (ms) of 18 people on days 0 to 9 of sleep restriction: 180 rows, no doses, no covariates.

    Source: Belenky and others (2003), Journal of Sleep Research 12, 1-12.
    """
    labels: dict[str, Any] = {"time_label": "days", "y_label": "reaction time (ms)"}
    return Population.from_frame(_csv("sleepstudy.csv"), id="Subject", time="Days", y="Reaction", **labels)


def eight_schools() -> Population:
    """Effect of coaching (points) in schools A to H, one row each; covariate se is its known standard error (points).

    Source: Rubin (1981), Journal of Educational Statistics 6, 377-401, Table 1.
    """
    columns: dict[str, Any] = {"id": "school", "y": "y", "y_label": "effect (points)"}
    return Population.from_frame(_csv("eight_schools.csv"), **columns, time=None, covariates={"se": "sigma"})


def phenobarbital() -> Population:
    """Phenobarbital in 59 newborn infants given it repeatedly: 155 concentrations (mg/L), 589 doses (mg), wt (kg).

    One to six samples an infant, from routine care, over up to 16 days. Doses are read as boluses.
    Source: Grasela and Donn (1985), Developmental Pharmacology and Therapeutics 8, 374-383.
    """
    columns: dict[str, Any] = {"id": "Subject", "time": "time", "y": "conc", "amount": "dose"}
    labels: dict[str, Any] = {"time_label": "time (h)", "y_label": "phenobarbital (mg/L)"}
    return Population.from_frame(_csv("phenobarb.csv"), **columns, covariates={"wt": "Wt"}, **labels)


def bilirubin() -> Population:
    """Log serum bilirubin (mg/dL) in 312 patients with primary biliary cholangitis, 1945 rows over 14 years.

    Covariates: age (years, at entry), male, treated (D-penicillamine) and, as they were at each visit, edema (0, 1/2,
    1), hepatomegaly (0, 1; where it was not looked for, as at the visit before) and albumin (g/dL). Patients were
    followed until they died, had a transplant, or the study ended.
    Source: Therneau and Grambsch (2000), Modeling Survival Data, section 8.4.
    """
    table = _csv("pbcseq.csv")
    table["years"] = table["day"] / 365.25
    table["log_bilirubin"] = np.log(table["bili"])
    table["male"] = (table["sex"] == "m").astype(float)
    names = {"age": "age", "male": "male", "treated": "trt", "edema": "edema", "hepatomegaly": "hepato"}
    columns: dict[str, Any] = {"id": "id", "time": "years", "y": "log_bilirubin"}
    labels: dict[str, Any] = {"time_label": "time (years)", "y_label": "log bilirubin (mg/dL)"}
    return Population.from_frame(table, **columns, covariates=names | {"albumin": "albumin"}, **labels)


def neyman_scott(
    key: PRNGKeyArray, groups: int = 1000, size: int = 2, mean_sd: float = 1.0, sigma: float = 1.0
) -> Population:
    """Small groups with a mean each: y_ij = eta_i + e_ij, eta_i ~ N(0, mean_sd^2), e_ij ~ N(0, sigma^2).

    Maximising over every eta_i as well gives sigma^2 (1 - 1/size) in place of sigma^2, however many groups there are.
    Source: Neyman and Scott (1948), Econometrica 16, 1-32.
    """
    between, within = jax.random.split(key)
    eta = mean_sd * jax.random.normal(between, (groups, 1))
    return _repeated(eta + sigma * jax.random.normal(within, (groups, size)), "replicate")


def clustered_binary(key: PRNGKeyArray, clusters: int, size: int, b0: float = 0.0, omega: float = 1.0) -> Population:
    """Yes or no answers (1 or 0) in clusters: logit P(y_ij = 1) = b0 + eta_i, eta_i ~ N(0, omega^2)."""
    between, within = jax.random.split(key)
    eta = omega * jax.random.normal(between, (clusters, 1))
    return _repeated(jax.random.bernoulli(within, jax.nn.sigmoid(b0 + eta), (clusters, size)), "answer")


def _repeated(y: jax.Array, time_label: str) -> Population:
    """A population of equal rows (N, n), numbered 0, 1, ... in place of a time, with no covariates and no doses."""
    n_subjects, n = y.shape
    nothing = jnp.zeros((n_subjects, 0))
    subjects = Subject(
        time=jnp.broadcast_to(jnp.arange(n), y.shape),
        y=y,
        mask=jnp.ones(y.shape),
        doses=Doses(time=nothing, amount=nothing, duration=nothing, compartment=nothing),
    )
    return Population(subjects, tuple(range(1, n_subjects + 1)), time_label=time_label)

"""Writes antibiotic.csv, the study in the last section of lesson 06: simulated, so that the truth is known.

Forty patients get 500 mg of an antibiotic as an infusion over one hour, every 12 hours, four times. Kidneys and weight
act on its kinetics, sex does not. The assay cannot tell anything below 0.5 mg/L. To make the file anew:

    python -m workshop.studies.antibiotic
"""

from pathlib import Path

import numpy as np
import pandas as pd

FILE = Path(__file__).parents[1] / "data" / "antibiotic.csv"
TRUTH = {"cl": 5.0, "v": 30.0, "renal": 0.7, "sd_cl": 0.25, "sd_v": 0.20, "proportional": 0.12, "additive": 0.1}
TIMES, LIMIT = np.array([1.0, 2.5, 6.0, 11.5, 37.0, 40.0, 47.0, 54.0]), 0.5
HEAD = """# Simulated: 40 patients, an antibiotic, infusions of 500 mg over 1 h every 12 h, four times (ADDL, II).
# Made by workshop/studies/antibiotic.py; nobody's measurements. Public domain (CC0 1.0).
# TIME h, DV mg/L, AMT mg, RATE mg/h, WT kg, CRCL creatinine clearance mL/min, SEX 1 female; CENS 1 below DV = 0.5.
"""


def concentration(t: np.ndarray, cl: float, v: float) -> np.ndarray:
    """Of four infusions at 0, 12, 24 and 36 h, by the solution of v C' = 500 (running) - cl C, one after the other."""
    ke, since = cl / v, t[:, None] - np.arange(4) * 12.0
    risen = 500.0 / cl * -np.expm1(-ke * np.clip(since, 0.0, 1.0))
    return np.sum(risen * np.exp(-ke * np.clip(since - 1.0, 0.0, None)), axis=1)


def study(seed: int = 1, patients: int = 40) -> pd.DataFrame:
    """A row for each dose and each sample, as the field writes it."""
    rng, rows = np.random.default_rng(seed), []
    for number in range(1, patients + 1):
        sex = int(rng.integers(2))
        wt, crcl = round(rng.normal(78 - 12 * sex, 11), 1), round(float(np.clip(rng.normal(85, 32), 18, 160)), 0)
        cl = TRUTH["cl"] * (crcl / 80) ** TRUTH["renal"] * np.exp(TRUTH["sd_cl"] * rng.normal())
        v = TRUTH["v"] * wt / 70 * np.exp(TRUTH["sd_v"] * rng.normal())
        at = np.sort(np.round(TIMES + rng.uniform(-0.2, 0.2, TIMES.size) * (TIMES > 1.5), 2))
        c = concentration(at, cl, v)
        y = c + np.hypot(TRUTH["proportional"] * c, TRUTH["additive"]) * rng.normal(size=at.size)
        person = {"WT": wt, "CRCL": int(crcl), "SEX": sex}
        dose = {"AMT": 500, "RATE": 500, "II": 12, "ADDL": 3, "EVID": 1, "CENS": 0}
        rows.append({"ID": number, "TIME": 0, "DV": "."} | dose | person)
        for t, value in zip(at, y, strict=True):
            seen = {"DV": f"{value:.2f}" if value >= LIMIT else LIMIT, "EVID": 0, "CENS": int(value < LIMIT)}
            rows.append({"ID": number, "TIME": t, **dict.fromkeys(("AMT", "RATE", "II", "ADDL"), 0), **seen, **person})
    order = ["ID", "TIME", "DV", "AMT", "RATE", "II", "ADDL", "EVID", "CENS", "WT", "CRCL", "SEX"]
    return pd.DataFrame(rows)[order]


def text() -> str:
    """The whole file."""
    return HEAD + study().to_csv(index=False, lineterminator="\n")


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")

"""Writes plants.csv, the file in the last section of lesson 08: simulated, so that the truth is known.

Forty plants are measured once a week, until the caterpillars come. Height follows h / (1 + exp(-(t - m) / 9)) cm, with
h ~ LogNormal(log 120, 0.25) and m ~ N(42, 7) days; the ruler is right to 3 cm. To make the file anew:

    python -m workshop.studies.plants
"""

from pathlib import Path

import numpy as np
import pandas as pd

FILE = Path(__file__).parents[1] / "data" / "plants.csv"
HEIGHT, HEIGHT_SD, MIDDLE, MIDDLE_SD, PACE, ERROR = 120.0, 0.25, 42.0, 7.0, 9.0, 3.0
HEAD = """# Simulated: the height (cm) of 40 plants, measured once a week (days since sowing), some eaten early.
# Made by workshop/studies/plants.py; nobody's measurements. Public domain (CC0 1.0).
"""


def height(t: np.ndarray, h: float, m: float) -> np.ndarray:
    """cm on day t, of a plant that ends at h cm and is halfway there on day m."""
    return h / (1.0 + np.exp(-(t - m) / PACE))


def study(seed: int = 5, plants: int = 40) -> pd.DataFrame:
    """A row for each measurement; some were missed, and some plants ended early."""
    rng, rows = np.random.default_rng(seed), []
    for number in range(1, plants + 1):
        h, m = HEIGHT * np.exp(HEIGHT_SD * rng.normal()), rng.normal(MIDDLE, MIDDLE_SD)
        weeks = 7.0 * np.arange(1, 13 if rng.random() < 0.7 else rng.integers(7, 12))
        days = weeks[rng.random(weeks.size) > 0.1]
        cm = height(days, h, m) + ERROR * rng.normal(size=days.size)
        rows += [{"plant": number, "day": int(t), "cm": round(y, 1)} for t, y in zip(days, cm, strict=True)]
    return pd.DataFrame(rows)


def text() -> str:
    """The whole file."""
    return HEAD + study().to_csv(index=False, lineterminator="\n")


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")

"""What benchmarks/lessons.py measured, in the words of a lesson's first cell and as the table of docs/class.md."""

import re
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "benchmarks" / "lessons.csv"
COLUMNS = ("lesson", "wall_cold", "wall_warm", "processor_cold", "processor_warm", "memory_cold", "memory_warm")
LINE = re.compile(r"^(Run the cells from the top with Shift \+ Enter\.)(?: All of them together .*)?$", re.MULTILINE)
TABLE = re.compile(r"^\| lesson \| peak memory .*(\n\|.*)*", re.MULTILINE)


def measured() -> pd.DataFrame:
    """The table of results: seconds and MB by lesson; empty where nothing was measured yet."""
    if not FILE.exists():
        return pd.DataFrame(columns=list(COLUMNS))
    return pd.read_csv(FILE, dtype={"lesson": str})


def rounded(seconds: float) -> str:
    """Seconds as one would say them: `40 s`, `2 min 10 s`."""
    whole = max(5 * round(seconds / 5), 5)
    if whole < 90:
        return f"{whole} s"
    minutes, rest = divmod(10 * round(seconds / 10), 60)
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def with_seconds(source: str, number: str) -> str:
    """A lesson's first cell with what was measured, where it has the line that tells how to run it."""
    results = measured().set_index("lesson")
    if number not in results.index:
        return source
    took = results.loc[number]
    cold, warm = rounded(took.processor_cold), rounded(took.processor_warm)
    said = f"All of them together take {cold} of computing the first time, and {warm} when their programs are kept."
    return LINE.sub(lambda found: f"{found[1]} {said}", source)


def with_results(page: str) -> str:
    """docs/class.md with its table of lessons made from the results."""
    head = ["| lesson | peak memory (MB) | processor (s) | with programs kept (s) |", "|---|---|---|---|"]
    rows = [
        f"| {one.lesson} | {one.memory_cold:.0f} | {one.processor_cold:.0f} | {one.processor_warm:.0f} |"
        for one in measured().itertuples()
    ]
    return TABLE.sub(lambda _: "\n".join(head + rows), page)

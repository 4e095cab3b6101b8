"""Run lessons once, so that what they compile is kept for the kernels of the workshop:  python3 start.py warm

    python3 start.py warm            all lessons
    python3 start.py warm 01 02      these
    python3 start.py warm --clear    forget what was kept

The lessons are run on copies, each in a kernel of its own. MEFIT_COMPILED names the folder; start.py sets it.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from nbclient.exceptions import CellExecutionError
from run_lessons import chosen, run, spoken


def kept(folder: Path) -> tuple[int, float]:
    """How many programs are kept, and their size in MB."""
    sizes = [path.stat().st_size for path in folder.rglob("*-cache")]
    return len(sizes), sum(sizes) / 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description="Run lessons once, so that what they compile is kept.")
    parser.add_argument("lessons", nargs="*", metavar="NN", help="numbers of lessons; all if none is given")
    wanted = chosen(parser.parse_args().lessons)
    folder = Path(os.environ["MEFIT_COMPILED"])
    began, failed = time.perf_counter(), []
    for number, path in wanted.items():
        print(f"lesson {number} ... ", end="", flush=True)
        try:
            print(spoken(run(path).seconds), flush=True)
        except CellExecutionError as failure:
            failed.append(number)
            print(f"stopped: {failure.ename}: {failure.evalue}", flush=True)
    programs, megabytes = kept(folder)
    print(f"It took {spoken(time.perf_counter() - began)}. In {folder}: {programs} programs, {megabytes:.0f} MB.")
    if failed:
        print(f"Not to its end: lesson {' and '.join(failed)}. Open it and run its cells to see why.", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

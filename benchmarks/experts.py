"""What mixtures of experts cost: `python benchmarks/experts.py` prints CPU milliseconds of an evaluation by classes and
by subjects, and the seconds of a new process that fits two classes to 312 patients from ten starts.

With `--result` only the latter, in this process. CPU time of all threads, which says little of what else a machine was
doing; the wall clock beside it does.
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

BEGUN = time.perf_counter(), time.process_time()
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax  # noqa: E402
import numpy as np  # noqa: E402
from run import table  # noqa: E402

import mefit as mf  # noqa: E402
from mefit.methods.climbs import Ground  # noqa: E402
from mefit.model.space import Space  # noqa: E402
from mefit.objectives.side_by_side import pool_of  # noqa: E402
from workshop.studies import experts_compared as study  # noqa: E402
from workshop.studies import liver  # noqa: E402

STARTS = 10
CLASSES = (1, 2, 4)
SUBJECTS = (100, 400, 1600)


def mixture(people: mf.Population, classes: int) -> mf.MixtureOfExperts:
    """Lines side by side, two levels of a unit apart."""
    experts = [
        study.Line(beta=np.array([2.0 * k, 0.0]), omega=study.SPREAD, sigma=np.array(study.SIGMA))
        for k in range(classes)
    ]
    return mf.MixtureOfExperts(experts, gate=mf.LinearGate(people, ["w"]))


def evaluation(people: mf.Population, classes: int, repeats: int) -> float:
    """Median CPU milliseconds of the likelihood at one point, with its gradient and cross-products."""
    model = mixture(people, classes)
    space = Space(model)
    ground = Ground(mf.Laplace(), space, pool_of(mf.Laplace(), model, [people], None), room=1)
    x = space.vector()[None]
    ground.look(x, np.zeros(1, int))
    times = []
    for _ in range(repeats):
        begun = time.process_time()
        ground.look(x, np.zeros(1, int))
        times.append(time.process_time() - begun)
    return 1e3 * statistics.median(times)


def costs(repeats: int) -> None:
    """An evaluation by the number of classes, and by the number of subjects."""
    people = study.simulate(400, 1)
    head = ["CPU ms", "CPU ms a class or a hundred subjects"]
    rows = []
    for classes in CLASSES:
        took = evaluation(people, classes, repeats)
        rows.append([f"{classes}", f"{took:.2f}", f"{took / classes:.2f}"])
    table("One evaluation of EM, 400 subjects", ["classes", *head], rows)
    rows = []
    for count in SUBJECTS:
        took = evaluation(study.simulate(count, 1), 2, repeats)
        rows.append([f"{count}", f"{took:.2f}", f"{100.0 * took / count:.2f}"])
    table("One evaluation of EM, two classes", ["subjects", *head], rows)


def result() -> None:
    """Two classes of 312 patients from ten starts, in this process from its first line on."""
    people = mf.datasets.bilirubin()
    one = study.Line(beta=np.array([0.5, 0.1]), omega=np.diag([1.0, 0.03]), sigma=np.array(0.4))
    two = mf.MixtureOfExperts((one, one), gate=mf.LinearGate(people, liver.GATE))
    fit = mf.fit(two, people, mf.EM(starts=STARTS), key=jax.random.key(1), progress=False)
    wall, cpu = time.perf_counter() - BEGUN[0], time.process_time() - BEGUN[1]
    print(f"log L {fit.log_likelihood:.2f} from {STARTS} starts: {wall:.1f} s on the clock, {cpu:.1f} of the processor")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15, help="runs behind each median (default 15)")
    parser.add_argument("--result", action="store_true", help="only ten starts, in this process")
    options = parser.parse_args()
    if options.result:
        result()
        return
    costs(options.repeats)
    print(flush=True)
    subprocess.run([sys.executable, __file__, "--result"], check=True)


if __name__ == "__main__":
    main()

"""One fit by several processes: which methods know how, and whether all of them are about to make the same."""

from ..base.processes import agree
from ..methods.maximise import Maximise
from ..methods.method import Method, Problem
from .checkpoint import fingerprint


def meet(problem: Problem, method: Method) -> None:
    """Raise ValueError, in every process, where the method cannot be shared out, or one of them fits something else."""
    if not isinstance(method, Maximise):
        raise ValueError(
            f"{method.label} runs in one process: leave devices='all' out, or take FO, FOCE, Laplace or AGQ, whose "
            "subjects are shared out among all."
        )
    agree(fingerprint(problem, method), "another model, population, method or key")

"""The last word on an answer of several numbers: which of them are right, and whether they are in order."""

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from workshop.checks.engine import everywhere


def by_number(*names: str, hints: Sequence[int], rtol: float = 1e-6) -> Callable:
    """`otherwise` of a `Function` that returns a number for each of `names`; a wrong one helps by its own hint.

    None where no number is right and no order makes them so.
    """

    def otherwise(arguments: list, given: list, wanted: list) -> tuple[str, int] | None:
        def same(place: int, of: int) -> bool:
            return all(np.isclose(g[place], w[of], rtol=rtol, atol=1e-9) for g, w in zip(given, wanted, strict=True))

        places = range(len(names))
        right = [k for k in places if same(k, k)]
        wrong = [k for k in places if k not in right]
        for order in itertools.permutations(wrong):
            if all(same(k, of) for k, of in zip(wrong, order, strict=True)):
                asked = ", then ".join(names)
                return f"The numbers are right, in the wrong order: asked for is {asked}.", hints[wrong[0]]
        if not right:
            return None
        first, slips = wrong[0], [dict(everywhere(w[wrong[0]])) for w in wanted]
        for reason in slips[0]:
            if all(
                reason in s and np.isclose(g[first], s[reason], rtol=rtol) for g, s in zip(given, slips, strict=True)
            ):
                return f"{_capital(_are(names, right))} right. {_capital(names[first])}: {_small(reason)}", hints[first]
        return f"{_capital(_are(names, right))} right; {_are(names, wrong)} not.", hints[first]

    return otherwise


def _are(names: Sequence[str], places: Sequence[int]) -> str:
    return " and ".join(names[k] for k in places) + (" is" if len(places) == 1 else " are")


def _capital(said: str) -> str:
    return "T" + said[1:] if said.startswith("the ") else said  # a parameter's name keeps its small letter


def _small(reason: str) -> str:
    return reason[0].lower() + reason[1:]

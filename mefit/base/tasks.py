"""The same work for many cases, here or on the workers of a cluster."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from .devices import using
from .stopping import Bar

Case = TypeVar("Case")
Result = TypeVar("Result")


def for_each(
    function: Callable[[Case], Result], cases: Iterable[Case], *, client: Any = None, progress: bool = True
) -> list[Result]:
    """`function` of every case, in the order of the cases: replicates of a study, a bootstrap, a class's exercises.

        def estimate(seed):
            data = mf.simulate(model, population, jax.random.key(seed))
            return float(mf.fit(model, data, mf.FOCE(), progress=False).model.cl)

        found = mf.for_each(estimate, range(500))  # here, one after the other

    With `client=dask.distributed.Client(address)` they are done on the workers of Dask. Cases share nothing. Of a
    worker that is lost Dask gives the cases to others, so that each case has one result; the function may then have
    begun twice, and should write no files. Each case computes on one device of its worker: give a machine as many
    workers, of one thread each, as it has cores.

    **Arguments:**

    - `function`: of one case. What it takes and returns goes from process to process by pickle: numbers, arrays,
      models and populations do. Dask takes the function itself along where it stands in a script or a notebook, and
      workers import it where it stands in a module.
    - `cases`: equal ones are computed each.
    - `client`: a `dask.distributed.Client` (`pip install "mefit[cluster]"`); None computes here.
    - `progress`: show a line with the number of cases that are done, and the time left.

    **Raises:** what the function raises, with the case named in a note; the other cases are then given up.
    """
    every: Sequence[Case] = list(cases)
    with Bar("cases", total=len(every), shown=progress) as bar:
        if client is not None:
            return _on_workers(function, every, client, bar)
        results = []
        for case in every:
            results.append(_named(case, lambda case=case: function(case)))  # type: ignore[misc]
            bar.update()
        return results


class _OnOneDevice:
    """The function as workers call it."""

    def __init__(self, function: Callable[[Any], Any]):
        self._function = function

    def __call__(self, case: Any) -> Any:
        with using(1):
            return self._function(case)


def _on_workers(function: Callable[[Any], Any], cases: Sequence[Any], client: Any, bar: Bar) -> list[Any]:
    from distributed import as_completed  # only who has a client has it

    # Not `pure`: Dask would take equal cases for one.
    futures = client.map(_OnOneDevice(function), cases, pure=False)
    try:
        for future in as_completed(futures):
            if future.status == "error":
                _named(cases[futures.index(future)], future.result)
            bar.update()
        return list(client.gather(futures))
    except BaseException:
        client.cancel(futures)
        raise


def _named(case: Any, work: Callable[[], Result]) -> Result:
    """What `work` returns; a note of the case goes with its error."""
    try:
        return work()
    except Exception as error:
        error.add_note(f"It was raised for the case {case!r}.")
        raise

"""Time to an event, from a hazard that may follow anything of a person's own, such as a marker's current value."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..data.by_outcome import UNNAMED, as_dict
from ..data.subject import Subject
from .outcomes import Event
from .views import seen_outcome


def hazard(
    log_hazard: Callable[[Array], Array],
    subject: Subject,
    outcome: str | None = None,
    *,
    start: float | Array = 0.0,
    nodes: int = 15,
) -> Event:
    """The density of an event outcome whose hazard is a function of time: an `Event` with the hazard integrated.

        H_j = integral from the row before to row j of h(t) dt,    h(t) = exp(log_hazard(t)),

    by Gauss-Legendre quadrature along the person's own curve. A joint model of a marker and a time to event, with the
    hazard following the marker's current value:

        def observations(self, eta, subject):
            def marker(t):
                return self.b[0] + eta[0] + (self.b[1] + eta[1]) * t

            def log_hazard(t):
                return self.base + self.slope * t + self.alpha * marker(t)

            return {
                "marker": dist.Normal(marker(subject.time), self.sigma),
                "death": mf.hazard(log_hazard, subject, "death"),
            }

    A network may stand in the hazard's place or in the marker's. In the data the event outcome is 0 at each row where
    the person was known to be free of it, 1 at the row of the event, 2 at a visit that found it had happened since the
    row before; and it is missing where that was not known. What is integrated is the time since the last row at which
    it was seen, so that rows of other outcomes between do no harm.

    **Arguments**

    - `log_hazard`: from times (m,) to the logarithms of the hazard there (m,), in 1 / unit of time.
    - `subject`: its rows' times, and which of them were seen.
    - `outcome`: the name of the event outcome, where there are several.
    - `start`: the time from which the person was watched and could have had it; for late entry a covariate. An event
      at that time itself, or before, is impossible.
    - `nodes`: of the quadrature between two rows. From `start` on they are denser, t = start + width u^4, because a
      hazard may begin at infinity, as a Weibull's of shape below 1 does.

    **Returns:** `Event`, with the log hazard at each row and the integral from the row before.

    **Raises:** ValueError for fewer than one node, or where the subject has no such outcome.
    Source: Rizopoulos (2012), Joint Models for Longitudinal and Time-to-Event Data, sections 4.1 and 4.3.
    """
    if nodes < 1:
        raise ValueError(f"hazard with {nodes} nodes: the quadrature needs one or more.")
    name = UNNAMED if outcome is None else outcome
    masks = as_dict(subject.mask)
    alone = seen_outcome()
    if alone is not None and UNNAMED in masks:
        if name != alone:  # the view leaves this density out, and its rows are not known there
            return _of_unknown_rows(subject)
        masks = {name: masks[UNNAMED]}
    if name not in masks:
        known = ", ".join(filter(None, masks)) or "one outcome without a name"
        raise ValueError(f"hazard is asked for {name or 'the outcome'!r}, and the data have {known}.")
    time = subject.time
    before = _row_before(time, masks[name], start)
    span = jnp.maximum(jnp.max(time) - start, 0.0)
    span = jnp.where(span > 0.0, span, 1.0)
    # rows without time before them are computed elsewhere, where every hazard is finite, and count nothing
    is_later = time > start
    width = jnp.where(is_later, time - before, 0.0)
    lasts = width > 0.0
    low = jnp.where(lasts, before, start)[:, None]
    shares, weights = _rule(nodes, low <= start)
    points = low + jnp.where(lasts, width, span)[:, None] * shares
    log_h = _along(log_hazard, jnp.concatenate([jnp.where(is_later, time, start + span), points.ravel()]))
    rows = log_h[: time.size]
    mean = jnp.sum(weights * jnp.exp(log_h[time.size :].reshape(points.shape)), axis=1)
    cumulative = jnp.where(lasts, width * mean, 0.0)
    # an event at the start is impossible, which a check of arguments would take for a mistake
    return Event(jnp.where(is_later, rows, -jnp.inf), cumulative, validate_args=False)


def _of_unknown_rows(subject: Subject) -> Event:
    """An event density that is no number anywhere, so that whatever used it would show."""
    unknown = jnp.full(subject.time.shape, jnp.nan)
    return Event(unknown, unknown, validate_args=False)


def _row_before(time: Float[Array, " n"], seen: Array, start: float | Array) -> Float[Array, " n"]:
    """The time of the last row before each at which the outcome was seen, in any order of rows; else the start."""
    place = jnp.arange(time.size)
    earlier = (time[None, :] < time[:, None]) | ((time[None, :] == time[:, None]) & (place[None, :] < place[:, None]))
    before = jnp.max(jnp.where(earlier & seen[None, :], time[None, :], -jnp.inf), axis=1)
    return jnp.maximum(before, start)


def _rule(nodes: int, from_start: Array) -> tuple[Array, Array]:
    """Shares of an interval (n, m) and their weights, which add up to one; denser where it begins at the start."""
    place, weight = np.polynomial.legendre.leggauss(nodes)
    u = 0.5 * (place + 1.0)
    w = 0.5 * weight
    return jnp.where(from_start, u**4, u), jnp.where(from_start, 4.0 * u**3 * w, w)


def _along(log_hazard: Callable[[Array], Array], times: Float[Array, " m"]) -> Float[Array, " m"]:
    values = jnp.asarray(log_hazard(times))
    if values.shape not in ((), times.shape):
        raise ValueError(
            f"log_hazard returns shape {values.shape} for {times.size} times: it must give one number for each time."
        )
    return jnp.broadcast_to(values, times.shape)

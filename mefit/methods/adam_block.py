"""A block of steps of Adam as one program; on several devices the chunks of a step are dealt out."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..base.adam_steps import steps_of_adam
from ..base.compiling import compiled_for_devices
from ..data.subject import Subject
from ..effects.starts import spread_over_prior
from ..model.space import Space
from ..objectives.evaluation import Batches, dealing_of, evaluation
from ..objectives.objective import Objective

_DRAWN_TOGETHER = 2**20  # numbers: of more, what the steps of a block draw is drawn step by step, for want of memory
_LOOKS = 4  # other places than its last mode where a subject's search may begin, at every step


class Setting(NamedTuple):
    """What stays the same through all steps."""

    objective: Any  # its `inner` is the objective itself
    space: Space
    subjects: Subject
    extras: Any
    scale: Any  # of each coordinate: the unit of its steps
    mesh: Any = None


@compiled_for_devices
def block(setting: Setting, progress: Any, rates: Array, chosen: Array, weights: Array) -> tuple[Any, Array]:
    """One step of Adam for each rate: the progress, and the objective before each step."""
    objective, space, subjects, extras, scale, mesh = setting
    adam = steps_of_adam()
    dealing = dealing_of(len(weights), mesh)
    looks = spread_over_prior(space.template, 64 * _LOOKS)

    def starts_of(progress: Any, which: Array) -> Array:
        # A mode may be a lesser peak: every step looks at a few other places, a few more each time.
        place = progress.done * _LOOKS % (len(looks) - _LOOKS + 1)
        others = jax.lax.dynamic_slice_in_dim(looks, place, _LOOKS)
        others = jnp.broadcast_to(others, (*which.shape, *others.shape))
        return jnp.concatenate([progress.starts[which][..., None, :], others], -2)

    def drawn(which: Array, done: Array) -> Any:
        return _drawn(objective.inner, extras, which[dealing], done)

    def propose(progress: Any, rate: Array, which: Array, chance: Any) -> tuple[Any, Array, Array]:
        """The progress if the step is taken, the objective before it, and whether it was a number."""
        dealt = which[dealing]
        batches = Batches(
            subjects=jax.tree.map(lambda leaf: leaf[dealt], subjects),
            extras=(chance, starts_of(progress, dealt)),
            weights=weights[dealing],
            place=jnp.arange(which.size),
            mesh=mesh,
        )
        value, gradient, _, etas = evaluation(objective, space, progress.x, batches, told=lambda term: term.eta)
        move, moments = adam.update(-gradient * scale, progress.moments)
        sound = jnp.isfinite(value) & jnp.all(jnp.isfinite(gradient))
        flat = which.reshape(-1)
        modes = jnp.where(jnp.isfinite(etas), etas, progress.starts[flat])
        onward = progress._replace(
            x=progress.x - rate * scale * move,
            sound=progress.x,
            moments=moments,
            starts=progress.starts.at[flat].set(modes),
        )
        return onward, value, sound

    def step(progress: Any, inputs: tuple[Array, Array, Any]) -> tuple[Any, Array]:
        rate, which, chance = inputs
        chance = chance if together else drawn(which, progress.done)
        onward, value, sound = propose(progress, rate, which, chance)
        back = progress._replace(x=progress.sound + 0.25 * (progress.x - progress.sound))
        new = jax.tree.map(lambda taken, kept: jnp.where(sound, taken, kept), onward, back)
        new = jax.tree.map(lambda moved, still: jnp.where(rate > 0.0, moved, still), new, progress)
        return new._replace(done=progress.done + (rate > 0.0)), jnp.where(sound, value, jnp.nan)

    rates = jnp.asarray(rates)
    chosen = jnp.asarray(chosen)
    # Drawn together, few numbers take a tenth of what they take drawn step by step: a generator is a loop.
    together = len(rates) * _numbers(jax.eval_shape(drawn, chosen[0], progress.done)) <= _DRAWN_TOGETHER
    ahead = jax.vmap(drawn)(chosen, progress.done + jnp.arange(len(rates))) if together else None
    return jax.lax.scan(step, progress, (rates, chosen, ahead))


def _drawn(objective: Objective, extras: Any, which: Array, done: Array) -> Any:
    """What a step draws for its subjects, in chunks as they are dealt."""

    def of_subject(i: Array) -> Any:
        return objective.fresh(jax.tree.map(lambda leaf: leaf[i], extras), done)

    return jax.vmap(jax.vmap(of_subject))(which)


def _numbers(tree: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))

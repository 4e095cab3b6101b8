"""The steps of Adam, as Optax has them."""

from typing import Any


def steps_of_adam() -> Any:
    """Adam without a learning rate: Optax's transformation of gradients.

    Source: Kingma and Ba (2015), ICLR, algorithm 1.
    """
    import optax  # here and not above: it takes a tenth of a second to import, and other methods do without

    return optax.scale_by_adam()

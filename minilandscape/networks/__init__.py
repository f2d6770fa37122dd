"""The four networks, forward and backward by hand, over data sets.

One module for each kind of layer and each network, the landscape of a network over images, and its span.
May import `backend`, `display`, `cuda`, `files`, `landscape`, `data`.
"""

from .landscape import (
    MODELS,
    VARIANTS,
    NetworkLandscape,
    get_network,
    initial_vector,
    model_of_size,
    model_size,
    network_landscape,
    variant_train_size,
)

__all__ = [
    "MODELS",
    "VARIANTS",
    "NetworkLandscape",
    "get_network",
    "initial_vector",
    "model_of_size",
    "model_size",
    "network_landscape",
    "variant_train_size",
]

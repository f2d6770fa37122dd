"""The four networks, forward and backward by hand, over data sets."""

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

"""Landscapes of networks over the data that a task names, made once per process."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ..data import Mnist, load_mnist
from ..networks import network_landscape


@lru_cache(maxsize=2)
def _read(where: str) -> Mnist:
    return load_mnist(where)


def campaign_data(options: dict[str, Any]) -> Mnist:
    """Read the data that a task's options name, once per process, and check that they are those of the plan."""
    data = _read(options["data"])
    if data.key != options["data_key"]:
        raise ValueError(
            f"{options['data']} holds the data {data.key!r}, the campaign is on {options['data_key']!r}; "
            "give --data as it was"
        )
    return data


@lru_cache(maxsize=2)
def landscape_over(
    model: str, variant: str, where: str, key: str, split: str, size: int, device: str, dtype: str = "float32"
) -> Any:
    """Return a network's landscape over the first images of a split, made once per process."""
    images = getattr(campaign_data({"data": where, "data_key": key}), split)
    return network_landscape(model, images[:size], variant, device, dtype)

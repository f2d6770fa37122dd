"""The command info: versions, devices, and where data would come from."""

from __future__ import annotations

import importlib.metadata
import platform

from .options import Json
from .output import print_json

#: The package itself, what it always needs, and what its adapters and extras do.
PACKAGES = (
    *("minilandscape", "numpy", "scipy", "scikit-learn", "matplotlib", "typer", "rich", "autograd", "loky"),
    *("mlxtend", "ase", "pele", "topsearch", "torch", "jax", "distributed"),
)


def info(as_json: Json = False) -> None:
    """Print versions, devices, and where the images would come from."""
    from minilandscape import backend
    from minilandscape.data import where_data_would_come_from

    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    devices = {}
    for device in backend.DEVICES:
        try:
            devices[device] = backend.device_description(device)
        except backend.DeviceError as error:
            devices[device] = f"none: {error}"
        except ValueError as error:  # of the environment, which this command is there to show
            devices[device] = str(error)
    places = [{"place": place, "found": found, "note": text} for place, found, text in where_data_would_come_from()]
    if as_json:
        print_json({"versions": versions, "devices": devices, "data": places})
        return
    for name, text in (versions | devices).items():
        print(f"{name:14} {text}")
    print("images, in the order in which --data auto looks for them:")
    for place in places:
        print(f"  {'found' if place['found'] else 'no':6} {place['place']}: {place['note']}")

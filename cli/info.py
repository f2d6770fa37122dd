"""The command info: versions, devices, and where data would come from."""

from __future__ import annotations

import importlib.metadata
import platform

from .options import Json
from .output import print_json

PACKAGES = ("minilandscape", "numpy", "scipy", "scikit-learn", "matplotlib", "typer", "autograd", "mlxtend", "ase")


def info(as_json: Json = False) -> None:
    """Versions, devices, and where the images would come from."""
    from minilandscape import backend
    from minilandscape.data import where_data_would_come_from

    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    try:
        gpu = backend.device_description("gpu")
    except backend.DeviceError as error:
        gpu = f"none: {error}"
    places = [{"place": place, "found": found, "note": text} for place, found, text in where_data_would_come_from()]
    if as_json:
        devices = {"cpu": backend.device_description("cpu"), "gpu": gpu}
        print_json({"versions": versions, "devices": devices, "data": places})
        return
    for name, version in versions.items():
        print(f"{name:14} {version}")
    print(f"{'cpu':14} {backend.device_description('cpu')}")
    print(f"{'gpu':14} {gpu}")
    print("data, in the order of --data auto:")
    for place in places:
        print(f"  {'yes' if place['found'] else 'no ':4} {place['place']}: {place['note']}")

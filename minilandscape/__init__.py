"""minilandscape: train, connect and measure on loss and energy landscapes."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from .analysis.angles import compare_sets
    from .analysis.atom_alignment import align_atoms, closest_approach
    from .analysis.curvature import Curvature, curvature, load_curvature
    from .analysis.density import SpectralDensity, load_spectral_density, spectral_density
    from .analysis.disconnectivity import DisconnectivityGraph, disconnectivity_graph
    from .analysis.kpca import KernelPCA, kernel_pca, load_kernel_pca
    from .analysis.stationary import StationaryPoints
    from .analysis.stationary_files import load_stationary_points, read_pathsample, read_pele, read_topsearch
    from .analysis.statistics import component_statistics, preferred_direction, shell_lengths
    from .analysis.surface import Surface, load_surface, surface
    from .analysis.symmetry import align
    from .backend import DeviceError, set_threads
    from .connect import Connection, find_saddle, load_connection, refine_saddle, split_at_minima
    from .data import DataError, load_mnist
    from .formats.contents import IncompleteWarning
    from .landscape import Evaluations, FunctionLandscape, LandscapeError, as_landscape, check_gradient
    from .networks import initial_vector, network_landscape
    from .noise import Noise, measure_noise, product_step
    from .paths import (
        AutoNeb,
        Bezier,
        Fourier,
        FourierPathFinder,
        Linear,
        Neb,
        Path,
        PathComparison,
        Polyline,
        compare_methods,
        find_path,
        load_path,
    )
    from .saddles import Saddle, load_saddle
    from .set_barriers import Barriers, barriers
    from .training import Run, load_runs, train, train_to_folder, train_together

#: Public name -> the module that holds it, imported when it is first asked for.
_HOMES = {
    "Curvature": "analysis.curvature",
    "curvature": "analysis.curvature",
    "load_curvature": "analysis.curvature",
    "SpectralDensity": "analysis.density",
    "load_spectral_density": "analysis.density",
    "spectral_density": "analysis.density",
    "Surface": "analysis.surface",
    "surface": "analysis.surface",
    "load_surface": "analysis.surface",
    "DisconnectivityGraph": "analysis.disconnectivity",
    "disconnectivity_graph": "analysis.disconnectivity",
    "KernelPCA": "analysis.kpca",
    "kernel_pca": "analysis.kpca",
    "load_kernel_pca": "analysis.kpca",
    "IncompleteWarning": "formats.contents",
    "StationaryPoints": "analysis.stationary",
    "load_stationary_points": "analysis.stationary_files",
    "read_pathsample": "analysis.stationary_files",
    "read_pele": "analysis.stationary_files",
    "read_topsearch": "analysis.stationary_files",
    "align": "analysis.symmetry",
    "align_atoms": "analysis.atom_alignment",
    "closest_approach": "analysis.atom_alignment",
    "compare_sets": "analysis.angles",
    "component_statistics": "analysis.statistics",
    "preferred_direction": "analysis.statistics",
    "shell_lengths": "analysis.statistics",
    "Barriers": "set_barriers",
    "barriers": "set_barriers",
    "DeviceError": "backend",
    "set_threads": "backend",
    "DataError": "data",
    "load_mnist": "data",
    "Evaluations": "landscape",
    "FunctionLandscape": "landscape",
    "LandscapeError": "landscape",
    "as_landscape": "landscape",
    "check_gradient": "landscape",
    "initial_vector": "networks",
    "network_landscape": "networks",
    "Noise": "noise",
    "measure_noise": "noise",
    "product_step": "noise",
    "AutoNeb": "paths",
    "Bezier": "paths",
    "Fourier": "paths",
    "FourierPathFinder": "paths",
    "Linear": "paths",
    "Neb": "paths",
    "Polyline": "paths",
    "Path": "paths",
    "PathComparison": "paths",
    "compare_methods": "paths",
    "Saddle": "saddles",
    "find_path": "paths",
    "load_path": "paths",
    "load_saddle": "saddles",
    "Connection": "connect",
    "find_saddle": "connect",
    "load_connection": "connect",
    "refine_saddle": "connect",
    "split_at_minima": "connect",
    "Run": "training",
    "load_runs": "training",
    "train": "training",
    "train_to_folder": "training",
    "train_together": "training",
}

__all__ = [
    "AutoNeb",
    "Barriers",
    "Bezier",
    "Connection",
    "Curvature",
    "DataError",
    "DeviceError",
    "DisconnectivityGraph",
    "Evaluations",
    "Fourier",
    "FourierPathFinder",
    "FunctionLandscape",
    "IncompleteWarning",
    "KernelPCA",
    "LandscapeError",
    "Linear",
    "Neb",
    "Noise",
    "Path",
    "PathComparison",
    "Polyline",
    "Run",
    "Saddle",
    "SpectralDensity",
    "StationaryPoints",
    "Surface",
    "__version__",
    "align",
    "align_atoms",
    "as_landscape",
    "barriers",
    "check_gradient",
    "closest_approach",
    "compare_methods",
    "compare_sets",
    "component_statistics",
    "curvature",
    "disconnectivity_graph",
    "find_path",
    "find_saddle",
    "initial_vector",
    "kernel_pca",
    "load_connection",
    "load_curvature",
    "load_kernel_pca",
    "load_mnist",
    "load_path",
    "load_runs",
    "load_saddle",
    "load_spectral_density",
    "load_stationary_points",
    "load_surface",
    "measure_noise",
    "network_landscape",
    "preferred_direction",
    "product_step",
    "read_pathsample",
    "read_pele",
    "read_topsearch",
    "refine_saddle",
    "set_threads",
    "shell_lengths",
    "spectral_density",
    "split_at_minima",
    "surface",
    "train",
    "train_to_folder",
    "train_together",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

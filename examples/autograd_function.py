"""
A function differentiated by autograd
=====================================

A function written with autograd.numpy needs no gradient of its own.
"""

import autograd.numpy as anp
import numpy as np

import minilandscape as ml


def ring(x):
    """A double well bent around the origin in three dimensions; two of its minima lie on a ring of radius 1."""
    radius = anp.sqrt(x[0] ** 2 + x[1] ** 2)
    return 10 * (radius - 1) ** 2 + 5 * x[2] ** 2 - 0.5 * (x[0] ** 2 - x[1] ** 2) / radius**2


land = ml.FunctionLandscape(ring, size=3, gradient="autograd")
path = ml.find_path(land, np.array([1.0, 0.01, 0.0]), np.array([-1.0, 0.0, 0.01]), solver="auto")
saddle = ml.refine_saddle(land, path)
print(f"height {path.maximum:.5f}; saddle {saddle.value:.5f} at {np.round(np.abs(saddle.point), 4)}: {saddle.reason}")

# %%
# The path, projected into the plane of its two principal components.
ml.surface(land, path=path, n=121).plot().figure.savefig("autograd_function.png", dpi=120)

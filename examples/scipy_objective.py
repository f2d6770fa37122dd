"""
Minima by SciPy, barriers by minilandscape
==========================================

Minima by SciPy, the barrier between them by a path and a verified saddle.
"""

from itertools import pairwise

import numpy as np
from scipy.optimize import minimize

import minilandscape as ml
from minilandscape.adapters.scipy import from_objective


def camelback(r):
    """The six-hump camelback, as minimize(..., jac=True) requires it."""
    x, y = r
    value = (4 - 2.1 * x**2 + x**4 / 3) * x**2 + x * y + (4 * y**2 - 4) * y**2
    return value, np.array([8 * x - 8.4 * x**3 + 2 * x**5 + y, x + 16 * y**3 - 8 * y])


start, end = (minimize(camelback, x0, jac=True, tol=1e-10).x for x0 in ([-1.7, 0.8], [0.1, -0.7]))
land = from_objective(camelback, size=2)
path = ml.find_path(land, start, end, solver="auto")
print(f"height {path.maximum:.6f}")
chain = ml.split_at_minima(land, path)
for a, b in pairwise(chain):
    saddle = ml.refine_saddle(land, ml.find_path(land, a, b, solver="auto"))
    print(f"saddle {saddle.value:.6f} from {camelback(a)[0]:.4f} to {camelback(b)[0]:.4f}: {saddle.reason}")

# %%
# The first path, which passes through a third minimum.
path.plot().figure.savefig("scipy_objective.png", dpi=120)

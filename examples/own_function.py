"""
The Müller–Brown surface
========================

Connect two minima of a function of one's own, and refine the top of the path to the saddle.
"""

import numpy as np

import minilandscape as ml

A = np.array([-200.0, -100.0, -170.0, 15.0])
a, b, c = np.array([-1, -1, -6.5, 0.7]), np.array([0, 0, 11, 0.6]), np.array([-10, -10, -6.5, 0.7])
x0, y0 = np.array([1, 0, -0.5, -1]), np.array([0, 0.5, 1.5, 1])


def mueller_brown(r):
    """Return value and gradient at r = (x, y)."""
    dx, dy = r[0] - x0, r[1] - y0
    terms = A * np.exp(a * dx**2 + b * dx * dy + c * dy**2)
    return terms.sum(), np.array([(terms * (2 * a * dx + b * dy)).sum(), (terms * (b * dx + 2 * c * dy)).sum()])


# %%
# A wrong gradient is the most common reason for a search that fails. Compare it with finite differences first.
start, end = np.array([-0.558224, 1.441726]), np.array([0.623499, 0.028038])
land = ml.FunctionLandscape(mueller_brown, size=2)
print(
    "the gradient agrees with finite differences:", ml.check_gradient(land, np.stack([start + 0.1, end - 0.1])).passed
)

# %%
# The path, and the saddle at its top.
path = ml.find_path(land, start, end)
saddle = ml.refine_saddle(land, path)
print(f"maximum {path.maximum:.4f} at t = {path.maximum_t:.2f}; straight line {path.height_linear:.2f}")
print(f"saddle  {saddle.value:.6f}, verified: {saddle.converged}")
path.plot().figure.savefig("own_function_profile.png", dpi=120)

# %%
# The plane through the path is the whole surface here.
ml.surface(land, path=path, n=121).plot().figure.savefig("own_function.png", dpi=120)

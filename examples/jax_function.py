"""
A function written in JAX
=========================

The Müller-Brown surface written with jax.numpy, differentiated and compiled by JAX.
"""

import jax
import jax.numpy as jnp
import numpy as np

import minilandscape as ml
from minilandscape.adapters.jax import JaxLandscape

jax.config.update("jax_enable_x64", True)
A, a = jnp.array([-200.0, -100, -170, 15]), jnp.array([-1, -1, -6.5, 0.7])
b, c = jnp.array([0, 0, 11, 0.6]), jnp.array([-10, -10, -6.5, 0.7])
x0, y0 = jnp.array([1, 0, -0.5, -1]), jnp.array([0, 0.5, 1.5, 1])


def energy(r):
    x, y = r[0] - x0, r[1] - y0
    return (A * jnp.exp(a * x**2 + b * x * y + c * y**2)).sum()


land = JaxLandscape(energy, size=2)
path = ml.find_path(land, np.array([-0.558224, 1.441726]), np.array([0.623499, 0.028038]), solver="auto")
print(f"height {path.maximum:.4f}; saddle {ml.refine_saddle(land, path).value:.6f}")

# %%
# The energy along the path.
path.plot().figure.savefig("jax_function.png", dpi=120)

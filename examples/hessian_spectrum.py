"""
The spectrum of a network's Hessian
===================================

How sharp is a minimum? Largest eigenvalues, trace and spectral density at the early-stopping weights of SGD.
"""

import minilandscape as ml

data = ml.load_mnist("mnist5k")
run = ml.train("fcp", data, optimizer="sgd", train_size=50, epochs=30)
land = ml.network_landscape("fcp", data.train[:50], dtype="float64")

# %%
# Both ends of the spectrum and the trace with its standard error.
found = ml.curvature(land, run.test_weights, 3)
print("highest", found.highest.round(2), "lowest", found.lowest.round(3))
print(f"trace {found.trace:.1f} ± {found.trace_error:.1f}, converged {found.converged}")

# %%
# The density of all eigenvalues, by stochastic Lanczos quadrature.
density = ml.spectral_density(land, run.test_weights, probes=2)
print(density.summary())
density.plot().figure.savefig("hessian_spectrum.png", dpi=120)

"""
Barrier against iterations of the search
========================================

A path search that is stopped early reports a barrier that is too high. How much depends on the optimiser that trained
the networks: it decides how high the straight line is, and how low the path can become.
"""

import matplotlib.pyplot as plt
import numpy as np

import minilandscape as ml

data = ml.load_mnist("mnist5k")
land = ml.network_landscape("fcp", data.train[:200])
figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
for optimizer, epochs, colour in (("sgd", 60, "#0072B2"), ("lbfgs-gss", 200, "#E69F00")):
    runs = [ml.train("fcp", data, optimizer=optimizer, train_size=200, epochs=epochs, seed=seed) for seed in (0, 1)]
    path = ml.find_path(land, *(run.train_weights for run in runs), steps=100)
    barrier = path.history["height"] - max(path.height_ends)
    above = np.flatnonzero(barrier > 0)  # where no barrier is left the line ends
    axes.loglog(above + 1, barrier[above], color=colour)
    axes.annotate(optimizer, (above[-1] + 1, barrier[above[-1]]), (4, 0), textcoords="offset points", color=colour)
    print(f"{optimizer:<10} straight line {barrier[0]:.3g}, 10 iterations {barrier[10]:.3g}, 100 {barrier[-1]:.2g}")
axes.set(xlabel="iteration of Adam", ylabel="height above the higher endpoint", xlim=(1, 300))
figure.savefig("height_against_steps.png", dpi=120)

"""
Two networks on MNIST
=====================

Train two small runs of fcp and join them by a low path.
"""

import minilandscape as ml

data = ml.load_mnist("auto")
print(data.describe())
runs = [ml.train("fcp", data, optimizer="lbfgs-gss", train_size=500, epochs=60, seed=seed) for seed in (0, 1)]
for run in runs:
    print(f"training loss {run.train_minimum['loss']:.2e}, lowest test loss {run.test_minimum['loss']:.3f}")
land = ml.network_landscape("fcp", data.train[:500])
path = ml.find_path(land, runs[0].train_weights, runs[1].train_weights, solver="lbfgs-gss", steps=40)
print(f"height {path.height:.4f}; straight line {path.height_linear:.3f}; higher end {max(path.height_ends):.4f}")
path.plot().figure.savefig("path.png", dpi=150)

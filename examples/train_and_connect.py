"""
Two networks on MNIST
=====================

Train the paper's FCP, a multilayer perceptron 784-50-50-10, from two seeds, and connect the results by a low-loss path.
"""

import minilandscape as ml

data = ml.load_mnist("auto")
print(data.describe())
runs = [ml.train("fcp", data, optimizer="lbfgs-gss", train_size=500, epochs=60, seed=seed) for seed in (0, 1)]
for run in runs:
    print(f"training loss {run.train_minimum['loss']:.2e}, lowest test loss {run.test_minimum['loss']:.3f}")

# %%
# The straight line crosses a barrier, the path found a much lower one.
land = ml.network_landscape("fcp", data.train[:500])
path = ml.find_path(land, runs[0].train_weights, runs[1].train_weights, solver="lbfgs-gss", steps=40)
print(f"highest loss {path.height:.4f}; straight line {path.height_linear:.3f}; endpoints {max(path.height_ends):.4f}")
path.plot().figure.savefig("path.png", dpi=150)

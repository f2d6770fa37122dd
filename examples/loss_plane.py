"""
The plane through two networks and the path between them
========================================================

Two networks trained on MNIST digits look separated by a ridge on the straight line. The path between them leaves
that line.
"""

import minilandscape as ml

data = ml.load_mnist("mnist5k")
runs = [ml.train("fcp", data, optimizer="sgd", train_size=500, epochs=60, seed=seed) for seed in (0, 1)]
land = ml.network_landscape("fcp", data.train[:500])
path = ml.find_path(land, *(run.train_weights for run in runs), n_terms=2, n_points=20, steps=100)
print(f"highest loss: straight line {path.height_linear:.3f}, path {path.maximum:.3f}")

# %%
# The plane holds both networks and the highest point of the path. The path lies near it, not in it.
plane = ml.surface(land, path=path, n=31)
print(f"the path is {path.length:.1f} long and leaves the plane by at most {plane.curve_distance:.2f}")
plane.plot().figure.savefig("loss_plane.png", dpi=120)

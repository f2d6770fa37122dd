"""
Kernel PCA of two sets of networks
==================================

Eight runs each of SGD and L-BFGS-GSS on the same 300 digits, projected by kernel PCA with a Gaussian kernel: the
paper's Fig. 6 on a small scale.
"""

import numpy as np

import minilandscape as ml

data = ml.load_mnist("mnist5k")
sets = {}
for optimizer, epochs in (("sgd", 40), ("lbfgs-gss", 100)):
    options = {"optimizer": optimizer, "epochs": epochs, "train_size": 300}
    runs = [ml.train("fcp", data, seed=seed, **options) for seed in range(8)]
    sets[optimizer] = np.stack([run.train_weights for run in runs])
points, labels = np.concatenate(list(sets.values())), [name for name, found in sets.items() for _ in found]

# %%
result = ml.kernel_pca(points, kernel="rbf", n_components=2)
print("eigenvalues", result.eigenvalues.round(4))
result.plot(labels=labels).figure.savefig("kernel_pca_sets.png", dpi=120)

# %%
# Lengths from the common origin tell the two sets apart as well.
print({name: f"{np.linalg.norm(found - points.mean(axis=0), axis=1).mean():.1f}" for name, found in sets.items()})

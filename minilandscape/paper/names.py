"""Names and colours in the figures and tables of a campaign."""

from __future__ import annotations

#: In the order of the paper's panels.
NAMES = {"fcp": "FCP", "lenet": "LeNet", "autoencoder": "Autoencoder", "lstm": "LSTM"}
OPTIMIZERS = {"sgd": ("SGD", "tab:red"), "lbfgs-gss": ("L-BFGS-GSS", "tab:blue")}
SETS = {
    ("lbfgs-gss", "train"): ("L-BFGS-GSS, train weights", "navy"),
    ("lbfgs-gss", "test"): ("L-BFGS-GSS, test weights", "lightskyblue"),
    ("sgd", "train"): ("SGD, train weights", "lightcoral"),
    ("sgd", "test"): ("SGD, test weights", "gold"),
}
KERNELS = {
    "rbf": "an RBF kernel of 2σ² = N_prm",
    "narrow-rbf": "an RBF kernel of 2σ² = N_prm / 64",
    "linear": "the linear kernel",
    "polynomial": "the polynomial kernel",
    "sigmoid": "the sigmoid kernel",
}
LETTERS = "abcdefgh"

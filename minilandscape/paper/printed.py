"""The numbers that the paper prints."""

from __future__ import annotations

#: Table 1: mean training loss of the train weights, and test loss of the test weights.
TABLE_1 = {
    "fcp": {"lbfgs-gss": (1.26e-08, 9.69e-02), "sgd": (6.21e-04, 8.25e-02)},
    "lenet": {"lbfgs-gss": (3.35e-08, 4.17e-02), "sgd": (1.76e-05, 3.89e-02)},
    "autoencoder": {"lbfgs-gss": (1.69e-02, 1.65e-02), "sgd": (4.57e-02, 4.52e-02)},
    "lstm": {"lbfgs-gss": (1.63e-06, 1.55e-01), "sgd": (1.35e-02, 1.28e-01)},
}
#: Table 1: parameters of each network, N_prm.
N_PRM = {"fcp": 42200, "lenet": 61706, "autoencoder": 52224, "lstm": 15456}
#: Table S1: μ and σ of the components of the train, and of the test weights.
TABLE_S1 = {
    "fcp": {
        "sgd": ((-1.44e-03, 1.39e-01), (-3.17e-03, 1.03e-01)),
        "lbfgs-gss": ((-2.47e-03, 2.34e-01), (-4.11e-03, 1.22e-01)),
    },
    "lenet": {
        "sgd": ((-3.57e-03, 8.77e-02), (-2.83e-03, 7.06e-02)),
        "lbfgs-gss": ((1.04e-03, 1.08e-01), (2.33e-04, 8.00e-02)),
    },
    "autoencoder": {
        "sgd": ((-7.06e-03, 8.54e-02), (-7.07e-03, 8.54e-02)),
        "lbfgs-gss": ((-3.65e-02, 1.60e-01), (-3.65e-02, 1.61e-01)),
    },
    "lstm": {
        "sgd": ((1.35e-02, 3.24e-01), (1.16e-02, 2.59e-01)),
        "lbfgs-gss": ((1.06e-02, 7.33e-01), (2.92e-03, 4.76e-01)),
    },
}
#: Training runs per network and optimiser, and those of the lowest training loss, which are kept.
RUNS, KEPT = 75, 48
#: Pairs of each set that are connected.
PAIRS = 300
#: Images that the losses are averages over, and those of a mini-batch of SGD.
TRAIN_IMAGES, TEST_IMAGES, BATCH = 50_000, 10_000, 64
#: Terms N_F, sample points M and λ of the paths.
TERMS, POINTS, LAM = 10, 50, 1e-4

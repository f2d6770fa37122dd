"""
The picture on the front page
=============================

Left, the Müller–Brown surface with the straight line between two minima, the path found and the verified saddle. Right,
the training loss of two networks along the straight line between them and along the path found.
"""

import matplotlib.pyplot as plt
import numpy as np

import minilandscape as ml
from minilandscape.potentials import MullerBrown

# %%
# An energy: two minima, the path between them, and the saddle on it.
land = MullerBrown()
start, end = np.array([-0.558224, 1.441726]), np.array([0.623499, 0.028038])
path = ml.find_path(land, start, end)
saddle = ml.refine_saddle(land, path)
t = np.linspace(0, 1, 201)[:, None]
on_the_line = float(land.values(start + t * (end - start)).max())
print(f"maximum along the path {path.maximum:.4f}, straight line {on_the_line:.2f}")
print(f"saddle {saddle.value:.6f}, verified: {saddle.converged}")

# %%
# A loss: two networks trained from different seeds on 500 digits, and the path between their weights.
data = ml.load_mnist("mnist5k")
runs = [ml.train("fcp", data, optimizer="sgd", train_size=500, epochs=80, seed=seed) for seed in (0, 1)]
loss = ml.network_landscape("fcp", data.train[:500])
valley = ml.find_path(loss, *(run.train_weights for run in runs), objective="maxflux", solver="auto")
line = runs[0].train_weights + t * (runs[1].train_weights - runs[0].train_weights)
higher = max(valley.height_ends)
print(f"loss: straight line {valley.height_linear:.2f}, path {valley.maximum:.3f}, higher endpoint {higher:.3f}")

# %%
blue, orange = "#0072B2", "#E69F00"
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
x, y = np.meshgrid(np.linspace(-1.5, 1.2, 271), np.linspace(-0.4, 2.0, 241))
energy = land.values(np.stack([x.ravel(), y.ravel()], axis=1)).reshape(x.shape)
shown = left.contourf(x, y, energy, np.arange(-150, 61, 10), cmap="cividis", extend="both")
figure.colorbar(shown, ax=left, label="energy")
left.plot(*np.stack([start, end], axis=1), "--", color="white", lw=1.5)
left.plot(*path.points(t[:, 0]).T, color="white", lw=2.5)
left.plot(*saddle.point, "*", color="#D55E00", ms=16, mec="white", mew=0.8)
for name, place, point in (("A", (8, 4), start), ("B", (8, 4), end)):
    left.plot(*point, "o", color="white", mec="black", ms=6)
    left.annotate(name, point, place, textcoords="offset points", color="white", weight="bold")
left.annotate(f"straight line\nup to {on_the_line:.1f}", (0.12, 0.70), color="black", ha="left")
left.annotate(
    f"saddle {saddle.value:.2f}", saddle.point, (-10, -22), textcoords="offset points", color="white", ha="center"
)
left.set(xlabel="x", ylabel="y", title="Energy: the Müller–Brown surface", xlim=(-1.5, 1.2), ylim=(-0.4, 2.0))

right.semilogy(t, loss.values(line.astype(np.float32)), "--", color=blue, lw=2)
right.semilogy(t, loss.values(valley.points(t[:, 0])), color=orange, lw=2)
right.plot([0, 1], valley.height_ends, "ko", ms=5)
right.annotate(
    "straight line", (0.5, valley.height_linear), (0, -16), textcoords="offset points", color=blue, ha="center"
)
right.annotate(
    "path found",
    (0.5, float(loss.values(valley.points([0.5]))[0])),
    (0, 14),
    textcoords="offset points",
    color=orange,
    ha="center",
)
right.set(
    xlabel="position along the path, t", ylabel="training loss", title="Loss: two networks trained on MNIST digits"
)
figure.savefig("front.png", dpi=130)

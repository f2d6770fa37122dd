"""
The paper's Fig. 3
==================

The paper's Fig. 3 as a picture.
"""

from matplotlib.figure import Figure

from minilandscape.figures.figure3 import figure3, plot_figure3

result = figure3()
figure = Figure(figsize=(11, 4.6), layout="constrained")
plot_figure3(result, figure.subplots(1, 2))
figure.savefig("figure3.png", dpi=150)
print(f"straight line {result.linear.height:.3f}")
for lam, path in result.paths.items():
    print(f"lambda {lam}: {path.height:.3f}")

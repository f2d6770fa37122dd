"""What is measured at and between points: kernel PCA, statistics, permutation tests, symmetry, curvature, trees.

One module for each; the modules `shown_…` and `histograms` print and draw their results.
May import `backend`, `display`, `drawing`, `files`, `motion`, `landscape`, `hessian`, `noise`, `formats`, `networks`,
`optimizers`, `paths`, `saddles`, `connect`.
"""

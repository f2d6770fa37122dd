"""Timings against PyTorch, JAX and the authors' procedure: ``python -m benchmarks`` in a checkout; not installed."""

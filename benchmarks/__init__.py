"""Timings against PyTorch: ``python -m benchmarks`` in a checkout; not installed."""

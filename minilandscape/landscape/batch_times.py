"""Estimates of how long mini-batches take."""

from __future__ import annotations

#: Floating-point operations a second of one core of a CPU in products, and how many times as long those of convolutions
#: take: measured. Of a GPU, estimated.
OPERATIONS, CONVOLUTION, OPERATIONS_ON_GPU = 4e10, 2, 1e13


def batch_times(operations: float, call: float, on_gpu: bool) -> tuple[float, float]:
    """Estimate, in seconds, the gradient of one sample at one point, and a call with a mini-batch besides.

    Parameters
    ----------
    operations
        Floating-point operations of a forward pass over one sample, those of convolutions twice;
        backward takes twice as many.
    call
        Seconds of a call besides.
    on_gpu
        Whether a GPU computes.
    """
    return 3 * operations / (OPERATIONS_ON_GPU if on_gpu else OPERATIONS), call

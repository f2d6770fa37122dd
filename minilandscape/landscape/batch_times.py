"""Estimates of how long mini-batches take."""

from __future__ import annotations

#: Floating-point operations a second of one core of a CPU in products, and how many times as long those of convolutions
#: take: measured.
OPERATIONS, CONVOLUTION = 4e10, 2
#: Of a GPU: operations a second, and seconds of a call with a mini-batch besides them. Estimated.
OPERATIONS_ON_GPU, CALL_ON_GPU = 1e13, 1e-2


def batch_times(operations: float, call: float, on_gpu: bool) -> tuple[float, float]:
    """Estimate, in seconds, the gradient of one sample at one point, and a call with a mini-batch besides.

    Parameters
    ----------
    operations
        Floating-point operations of a forward pass over one sample, those of convolutions twice;
        backward takes twice as many.
    call
        Seconds of a call besides, on a CPU.
    on_gpu
        Whether a GPU computes.
    """
    if on_gpu:
        return 3 * operations / OPERATIONS_ON_GPU, CALL_ON_GPU
    return 3 * operations / OPERATIONS, call

"""What CuPy leaves to be done on a GPU: products that a graph may hold, kernels, and graphs of many small operations.

To launch an operation costs the host ten microseconds and more, which is longer than most of these take on the device.
A CUDA graph holds all of a pass and is launched at once. CuPy records its own kernels into one but refuses cuBLAS while
it does, so products go to cuBLAS from here. May import `backend`.
"""

from .graphs import GraphMemory, Recorder
from .kernels import elementwise
from .products import matmul

__all__ = ["GraphMemory", "Recorder", "elementwise", "matmul"]

"""What CuPy lacks on a GPU: products that CUDA graphs can hold, kernels, and graphs of many small operations.

Launching an operation takes the host ten microseconds or more, which is longer than most of these operations take. A
CUDA graph holds all operations of a pass and is launched as one. CuPy can record its own kernels into a graph, but not
its products, which are therefore sent to cuBLAS from here. May import `backend`.
"""

from .graphs import GraphMemory, Recorder
from .kernels import elementwise
from .products import matmul

__all__ = ["GraphMemory", "Recorder", "elementwise", "matmul"]

"""The landscape: a function of many variables with a gradient, over stacks of points.

The protocol, functions as landscapes, defaults for what an object lacks, and the check of gradients.
May import `backend`, `display`, `files`, `motion`.
"""

from .batch_times import CONVOLUTION, batch_times
from .check import GradientCheck, check_gradient
from .completed import as_landscape
from .function import FunctionLandscape, read_stack, real_numbers
from .protocol import (
    PATH_DEFAULTS,
    Evaluations,
    Landscape,
    LandscapeDefaults,
    LandscapeError,
    PointSpan,
    Span,
    Weights,
    describe_point,
    displacement_between,
    one_point,
    two_points,
    units_of,
    vector,
)

__all__ = [
    "CONVOLUTION",
    "PATH_DEFAULTS",
    "Evaluations",
    "FunctionLandscape",
    "GradientCheck",
    "Landscape",
    "LandscapeDefaults",
    "LandscapeError",
    "PointSpan",
    "Span",
    "Weights",
    "as_landscape",
    "batch_times",
    "check_gradient",
    "describe_point",
    "displacement_between",
    "one_point",
    "read_stack",
    "real_numbers",
    "two_points",
    "units_of",
    "vector",
]

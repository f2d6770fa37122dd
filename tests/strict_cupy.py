"""A strict stand-in for CuPy: runs on any machine and refuses what CuPy refuses.

Arrays wrap hidden NumPy arrays. They do not convert to NumPy implicitly, do not mix with NumPy arrays, and become
Python numbers only through ``get()``; the module offers only functions that CuPy has.
"""

from __future__ import annotations

import operator
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

#: Functions that the engine may call; the tests hold them to the real package's names where it is installed.
FUNCTIONS = frozenset(
    [
        "abs",
        "add",
        "all",
        "any",
        "arange",
        "argmax",
        "ascontiguousarray",
        "concatenate",
        "cumsum",
        "divide",
        "dot",
        "einsum",
        "empty",
        "empty_like",
        "equal",
        "exp",
        "expm1",
        "eye",
        "flatnonzero",
        "full",
        "greater",
        "isfinite",
        "isnan",
        "linspace",
        "log",
        "log1p",
        "matmul",
        "maximum",
        "minimum",
        "moveaxis",
        "multiply",
        "negative",
        "ones",
        "ones_like",
        "power",
        "reciprocal",
        "sign",
        "sqrt",
        "square",
        "stack",
        "subtract",
        "sum",
        "swapaxes",
        "take",
        "tanh",
        "tensordot",
        "transpose",
        "where",
        "zeros",
        "zeros_like",
    ]
)
CONSTANTS = frozenset(
    ["float32", "float64", "int32", "int64", "bool_", "uint8", "intp", "newaxis", "pi", "inf", "nan", "dtype"]
)
METHODS = [
    "all",
    "any",
    "argmax",
    "astype",
    "copy",
    "max",
    "mean",
    "min",
    "ravel",
    "reshape",
    "sum",
    "swapaxes",
    "take",
    "transpose",
]
BINARY = [
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "matmul",
    "and",
    "or",
    "xor",
    "lt",
    "le",
    "gt",
    "ge",
    "eq",
    "ne",
]


def make_module() -> ModuleType:
    """A fresh module to put into ``sys.modules["cupy"]``."""

    def bare(value: Any) -> Any:
        """The hidden arrays of an argument; NumPy arrays are refused."""
        if isinstance(value, ndarray):
            return value._hidden
        if isinstance(value, np.ndarray):
            raise TypeError(f"Unsupported type {np.ndarray}: a NumPy array among CuPy's; transfer it with asarray")
        if isinstance(value, (tuple, list)):
            return type(value)(bare(v) for v in value)
        return value

    def wrap(value: Any) -> Any:
        if isinstance(value, (np.ndarray, np.generic)):
            array = object.__new__(ndarray)
            array._hidden = np.asarray(value)
            return array
        if isinstance(value, tuple):
            return tuple(wrap(v) for v in value)
        return value

    def refuse(name: str) -> Any:
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            raise TypeError(f"{name} of a device array: implicit conversion is not allowed; use .get()")

        return method

    class ndarray:
        """Looks like cupy.ndarray."""

        __module__ = "cupy"
        __array_priority__ = 100
        _hidden: Any

        def get(self) -> np.ndarray:
            return self._hidden.copy()

        def __getitem__(self, key: Any) -> Any:
            found = self._hidden[bare(key)]
            return wrap(found)

        def __setitem__(self, key: Any, value: Any) -> None:
            self._hidden[bare(key)] = bare(value)

        def __len__(self) -> int:
            return len(self._hidden)

        def __array_ufunc__(self, *args: Any, **kwargs: Any) -> Any:
            raise TypeError("a NumPy function was given a device array; use the array's own module")

        def __array_function__(self, *args: Any, **kwargs: Any) -> Any:
            raise TypeError("a NumPy function was given a device array; use the array's own module")

        def fill(self, value: Any) -> None:
            self._hidden.fill(bare(value))

    for name in ("shape", "strides", "dtype", "ndim", "size", "itemsize", "nbytes", "T"):
        setattr(ndarray, name, property(lambda self, name=name: wrap_attribute(getattr(self._hidden, name))))
    for name in METHODS:

        def method(self: Any, *args: Any, _name: str = name, **kwargs: Any) -> Any:
            arguments = {k: bare(v) for k, v in kwargs.items()}
            return wrap(getattr(self._hidden, _name)(*bare(args), **arguments))

        setattr(ndarray, name, method)
    for name in BINARY:
        function = getattr(operator, f"{name}_" if name in ("and", "or") else name)

        def forward(self: Any, other: Any, _f: Any = function) -> Any:
            return wrap(_f(self._hidden, bare(other)))

        def reflected(self: Any, other: Any, _f: Any = function) -> Any:
            return wrap(_f(bare(other), self._hidden))

        setattr(ndarray, f"__{name}__", forward)
        if name not in ("lt", "le", "gt", "ge", "eq", "ne"):
            setattr(ndarray, f"__r{name}__", reflected)
            in_place = getattr(operator, f"i{name}")

            def inside(self: Any, other: Any, _f: Any = in_place) -> Any:
                self._hidden = _f(self._hidden, bare(other))
                return self

            setattr(ndarray, f"__i{name}__", inside)
    for name in ("neg", "abs", "invert"):

        def unary(self: Any, _name: str = name) -> Any:
            return wrap(getattr(operator, _name)(self._hidden))

        setattr(ndarray, f"__{name}__", unary)
    for name in (
        "__array__",
        "__float__",
        "__int__",
        "__bool__",
        "__index__",
        "__complex__",
        "__iter__",
        "item",
        "tolist",
    ):
        setattr(ndarray, name, refuse(name))

    def wrap_attribute(value: Any) -> Any:
        return wrap(value) if isinstance(value, np.ndarray) else value

    def transfer(value: Any, dtype: Any = None, copy: bool = False) -> Any:
        """The one way onto the device."""
        hidden = value._hidden if isinstance(value, ndarray) else value
        if isinstance(value, ndarray) and not copy:
            return value if dtype is None or hidden.dtype == dtype else wrap(hidden.astype(dtype))
        return wrap(np.array(hidden, dtype=dtype))

    module = ModuleType("cupy")

    def lookup(name: str) -> Any:
        if name in CONSTANTS:
            return getattr(np, name)
        if name not in FUNCTIONS:
            raise AttributeError(f"module 'cupy' has no attribute {name!r} (or the stand-in does not list it)")

        def function(*args: Any, **kwargs: Any) -> Any:
            if "where" in kwargs:
                raise TypeError(f"{name}: CuPy's functions take no where=")
            out = kwargs.get("out")
            if out is not None and not isinstance(out, ndarray):
                raise TypeError(f"{name}: out= must be a device array")
            result = getattr(np, name)(*bare(args), **{k: bare(v) for k, v in kwargs.items()})
            return out if out is not None else wrap(result)

        return function

    runtime = SimpleNamespace(
        getDeviceCount=lambda: 1,
        memGetInfo=lambda: (2 << 30, 4 << 30),
        getDevice=lambda: 0,
        getDeviceProperties=lambda device: {"name": b"strict stand-in"},
    )

    def as_strided(array: Any, shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
        return wrap(np.lib.stride_tricks.as_strided(array._hidden, shape, strides))

    module.__dict__.update(
        ndarray=ndarray,
        lib=SimpleNamespace(stride_tricks=SimpleNamespace(as_strided=as_strided)),
        asarray=transfer,
        array=lambda value, dtype=None: transfer(value, dtype, copy=True),
        asnumpy=lambda value: value.get(),
        cuda=SimpleNamespace(runtime=runtime),
        get_default_memory_pool=lambda: SimpleNamespace(free_bytes=lambda: 0),
        __version__="0 (strict stand-in)",
        __getattr__=lookup,
    )
    return module

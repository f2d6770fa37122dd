"""A strict stand-in for CuPy: runs on any machine and refuses what CuPy refuses.

Arrays wrap hidden NumPy arrays. They do not convert to NumPy implicitly, do not mix with NumPy arrays, and become
Python numbers only through ``get()``; the module offers only functions that CuPy has.

While a stream captures nothing is written, and what would be is done when its graph is launched, on the same memory,
if its pool still has it. Meanwhile nothing may come from the host or go there, and ``matmul`` is refused, as CuPy
refuses cuBLAS.
"""

from __future__ import annotations

import ctypes
import operator
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
        "broadcast_to",
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


class Tape:
    """What was done since a stream began to capture; None where none does."""

    def __init__(self) -> None:
        self.steps: list[Callable[[], Any]] | None = None
        self.allocators: list[Callable[[int], Any]] = []

    def make(self, work: Callable[[], Any], *sources: Any) -> Any:
        """A new array, or a view of a source, which a replay need not make again. Capturing, it has only its shape."""
        if self.steps is None:
            return work()
        with np.errstate(all="ignore"):
            made = np.asarray(work())
        if not any(np.may_share_memory(made, source) for source in arrays_in(sources)):
            memory = weakref.ref(self.allocators[-1](made.nbytes).mem)

            def step() -> None:
                assert memory() is not None, "a graph works on memory that its pool has given back"
                np.copyto(made, work())

            self.steps.append(step)
        return made

    def write(self, work: Callable[[], Any]) -> None:
        """Changes an array that exists."""
        if self.steps is None:
            work()
        else:
            self.steps.append(work)

    def refuse(self, what: str) -> None:
        if self.steps is not None:
            raise RuntimeError(f"{what} while a stream is capturing")


def arrays_in(value: Any) -> list[np.ndarray]:
    """The arrays among arguments, however deep."""
    if isinstance(value, (tuple, list)):
        return [array for v in value for array in arrays_in(v)]
    return [value] if isinstance(value, np.ndarray) else []


class FakeCublas:
    """``minilandscape.cuda.Cublas`` on the host's memory: reads matrices by address, column by column."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape

    def leave(self) -> None:
        pass

    def gemm(self, char: str, turn: Any, sizes: Any, a: Any, b: Any, c: Any, count: int) -> None:
        rows, columns, inner = sizes
        A = self._stack(char, *a, *((inner, rows) if turn[0] else (rows, inner)), count)
        B = self._stack(char, *b, *((columns, inner) if turn[1] else (inner, columns)), count)
        C = self._stack(char, *c, rows, columns, count)

        def work() -> None:
            first, second = A.swapaxes(1, 2) if turn[0] else A, B.swapaxes(1, 2) if turn[1] else B
            C[...] = np.ascontiguousarray(first) @ np.ascontiguousarray(second)

        self._tape.write(work)

    def gemm_at(self, char: str, turn: Any, sizes: Any, a: Any, b: Any, c: Any, count: int) -> None:
        addresses = [operand[0]._hidden for operand in (a, b, c)]

        def work() -> None:
            assert {len(each) for each in addresses} == {count}
            for place in zip(*addresses, strict=True):
                operands = ((int(at), ld, 0) for at, (_, ld) in zip(place, (a, b, c), strict=True))
                FakeCublas(Tape()).gemm(char, turn, sizes, *operands, 1)

        self._tape.write(work)

    @staticmethod
    def _stack(char: str, address: int, ld: int, step: int, rows: int, columns: int, count: int) -> np.ndarray:
        dtype = np.dtype(char)
        assert ld >= rows, "cuBLAS refuses a leading dimension below the number of rows"
        length = (count - 1) * step + (columns - 1) * ld + rows
        buffer = (ctypes.c_byte * (length * dtype.itemsize)).from_address(address)
        strides = tuple(dtype.itemsize * n for n in (step, 1, ld))
        return np.lib.stride_tricks.as_strided(np.frombuffer(buffer, dtype), (count, rows, columns), strides)


def make_module() -> ModuleType:
    """A fresh module to put into ``sys.modules["cupy"]``."""
    tape = Tape()

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
            tape.refuse("get")
            return self._hidden.copy()

        def set(self, array: np.ndarray) -> None:
            tape.refuse("set")
            assert array.shape == self.shape
            assert array.dtype == self.dtype
            self._hidden[...] = array

        @property
        def data(self) -> Any:
            return SimpleNamespace(ptr=self._hidden.__array_interface__["data"][0])

        def __getitem__(self, key: Any) -> Any:
            no_lists(key)
            hidden, place = self._hidden, bare(key)
            return wrap(tape.make(lambda: hidden[place], hidden))

        def __setitem__(self, key: Any, value: Any) -> None:
            no_lists(key)
            hidden, place, new = self._hidden, bare(key), bare(value)
            tape.write(lambda: operator.setitem(hidden, place, new))

        def __len__(self) -> int:
            return len(self._hidden)

        def __array_ufunc__(self, *args: Any, **kwargs: Any) -> Any:
            raise TypeError("a NumPy function was given a device array; use the array's own module")

        def __array_function__(self, *args: Any, **kwargs: Any) -> Any:
            raise TypeError("a NumPy function was given a device array; use the array's own module")

        def fill(self, value: Any) -> None:
            hidden = self._hidden
            tape.write(lambda: hidden.fill(bare(value)))

    def no_lists(key: Any) -> None:
        if any(isinstance(k, list) for k in (key if isinstance(key, tuple) else (key,))):
            tape.refuse("a list of indices sent to the device")

    for name in ("shape", "strides", "dtype", "ndim", "size", "itemsize", "nbytes", "T"):
        setattr(ndarray, name, property(lambda self, name=name: wrap_attribute(getattr(self._hidden, name))))
    for name in METHODS:

        def method(self: Any, *args: Any, _name: str = name, **kwargs: Any) -> Any:
            arguments = {k: bare(v) for k, v in kwargs.items()}

            def work() -> Any:
                return getattr(self._hidden, _name)(*bare(args), **arguments)

            if "out" in kwargs:
                tape.write(work)
                return kwargs["out"]
            return wrap(tape.make(work, self._hidden))

        setattr(ndarray, name, method)
    for name in BINARY:
        function = getattr(operator, f"{name}_" if name in ("and", "or") else name)

        def forward(self: Any, other: Any, _f: Any = function) -> Any:
            if _f is operator.matmul:
                tape.refuse("cuBLAS")
            hidden, given = self._hidden, bare(other)
            return wrap(tape.make(lambda: _f(hidden, given)))

        def reflected(self: Any, other: Any, _f: Any = function) -> Any:
            hidden, given = self._hidden, bare(other)
            return wrap(tape.make(lambda: _f(given, hidden)))

        setattr(ndarray, f"__{name}__", forward)
        if name not in ("lt", "le", "gt", "ge", "eq", "ne"):
            setattr(ndarray, f"__r{name}__", reflected)
            in_place = getattr(operator, f"i{name}")

            def inside(self: Any, other: Any, _f: Any = in_place) -> Any:
                hidden, given = self._hidden, bare(other)
                tape.write(lambda: _f(hidden, given))
                return self

            setattr(ndarray, f"__i{name}__", inside)
    for name in ("neg", "abs", "invert"):

        def unary(self: Any, _name: str = name) -> Any:
            hidden, function = self._hidden, getattr(operator, _name)
            return wrap(tape.make(lambda: function(hidden)))

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
        if not isinstance(value, ndarray):
            tape.refuse("a transfer to the device")
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
            if name in ("matmul", "dot", "tensordot", "einsum"):
                tape.refuse("cuBLAS")
            if name in ("concatenate", "stack"):
                tape.refuse("a list of addresses sent to the device")
            given, options = bare(args), {k: bare(v) for k, v in kwargs.items()}

            def work() -> Any:
                return getattr(np, name)(*given, **options)

            if out is not None:
                tape.write(work)
                return out
            return wrap(tape.make(work, given))

        return function

    class ElementwiseKernel:
        """Runs the statements of a kernel, which are assignments, as Python: without their types."""

        def __init__(self, reads: str, writes: str, statements: str, name: str) -> None:
            self.names = [[p.split()[1] for p in params.split(",")] for params in (reads, writes)]
            for parameter in (*self.names[0], *self.names[1]):
                if parameter in ("i", "n") or parameter.startswith("_"):
                    raise ValueError(f"Can not use {parameter!r} as a parameter name")
            lines = [line.strip().removeprefix("T ") for line in statements.split(";")]
            self.code = compile("\n".join(lines), name, "exec")

        def __call__(self, *arrays: Any) -> None:
            reads, writes = self.names
            hidden = [array._hidden for array in arrays]
            assert len(hidden) == len(reads) + len(writes)
            shape, dtype = hidden[-1].shape, hidden[-1].dtype
            assert np.broadcast_shapes(*(array.shape for array in hidden)) == shape
            assert all(array.shape == shape and array.dtype == dtype for array in hidden[len(reads) :])

            def work() -> None:
                # CUDA's max of a number and NaN is the number.
                functions = {"tanh": np.tanh, "exp": np.exp, "log1p": np.log1p, "max": np.fmax}
                known = dict(zip(reads, hidden, strict=False)) | functions
                known["T"] = lambda x: np.asarray(x, dtype)
                exec(self.code, known)
                for name, array in zip(writes, hidden[len(reads) :], strict=True):
                    array[...] = known[name]

            tape.write(work)

    runtime = SimpleNamespace(
        getDeviceCount=lambda: 1,
        memGetInfo=lambda: (2 << 30, 4 << 30),
        getDevice=lambda: 0,
        getDeviceProperties=lambda device: {"name": b"strict stand-in"},
    )

    current = [SimpleNamespace(ptr=0)]

    class Stream:
        def __init__(self, non_blocking: bool = False) -> None:
            assert non_blocking, "others' work on the default stream would break the recording"
            self.ptr = id(self)

        def __enter__(self) -> None:
            current.append(self)

        def __exit__(self, *error: Any) -> None:
            current.pop()

        def begin_capture(self) -> None:
            tape.refuse("begin_capture")
            tape.steps = []

        def end_capture(self) -> Any:
            steps, tape.steps = tape.steps, None
            assert steps is not None
            return SimpleNamespace(launch=lambda: [step() for step in steps])

    class Memory:
        def __init__(self, size: int) -> None:
            self.size = size

    class MemoryPool:
        """Unlike CuPy's it gives out no block twice, and frees what arrays still hold."""

        def __init__(self, allocator: Any = None) -> None:
            self._allocator = allocator or (lambda size: cuda.MemoryPointer(cuda.Memory(size), 0))
            self._blocks: list[Any] = []

        def malloc(self, size: int) -> Any:
            try:
                pointer = self._allocator(size)
            except MemoryError:
                self.free_all_blocks()
                pointer = self._allocator(size)
            self._blocks.append(pointer.mem)
            return pointer

        def free_all_blocks(self) -> None:
            self._blocks.clear()

    @contextmanager
    def using_allocator(allocator: Callable[[int], Any]) -> Iterator[None]:
        tape.allocators.append(allocator)
        try:
            yield
        finally:
            tape.allocators.pop()

    cuda = SimpleNamespace(
        runtime=runtime,
        Stream=Stream,
        get_current_stream=lambda: current[-1],
        Memory=Memory,
        MemoryPointer=lambda mem, offset: SimpleNamespace(mem=mem),
        MemoryPool=MemoryPool,
        using_allocator=using_allocator,
    )

    def as_strided(array: Any, shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
        return wrap(np.lib.stride_tricks.as_strided(array._hidden, shape, strides))

    module.__dict__.update(
        ndarray=ndarray,
        lib=SimpleNamespace(stride_tricks=SimpleNamespace(as_strided=as_strided)),
        asarray=transfer,
        array=lambda value, dtype=None: transfer(value, dtype, copy=True),
        asnumpy=lambda value: value.get(),
        cuda=cuda,
        fake_cublas=FakeCublas(tape),
        ElementwiseKernel=ElementwiseKernel,
        get_default_memory_pool=lambda: SimpleNamespace(free_bytes=lambda: 0),
        __version__="0 (strict stand-in)",
        __getattr__=lookup,
    )
    return module

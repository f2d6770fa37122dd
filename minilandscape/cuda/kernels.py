"""Elementwise functions, each as one kernel."""

from __future__ import annotations

from functools import cache
from typing import Any

from ..backend import cupy_module


@cache
def _kernel(name: str) -> Any:
    return cupy_module().ElementwiseKernel(*KERNELS[name], f"minilandscape_{name}")


def elementwise(name: str, *arrays: Any) -> None:
    """Apply one of :data:`KERNELS` to arrays that broadcast: its inputs, then its outputs.

    An output may be one of the inputs.
    """
    _kernel(name)(*arrays)


def _cross_entropy(n_classes: int) -> tuple[str, str, str]:
    """Return the kernel from logits and label to gradient, loss and correctness of one image.

    Correctness is 1 if the label alone has the largest logit, 1/k if k classes share it, else 0.
    """
    each = range(n_classes)
    top = "y0"
    for k in each[1:]:
        top = f"max({top}, y{k})"
    statements = [f"T top = {top}"]
    statements += [f"T is{k} = T(label == {k})" for k in each]
    statements += [f"T e{k} = exp(y{k} - top)" for k in each]
    # 0 times an infinite logit is NaN, and so is the loss.
    statements += ["T at = " + " + ".join(f"is{k} * (y{k} - top)" for k in each)]
    statements += ["T e = " + " + ".join(f"is{k} * e{k}" for k in each)]
    statements += ["T off = " + " + ".join(f"(T(1) - is{k}) * e{k}" for k in each)]
    statements += [f"d{k} = ((T(1) - is{k}) * e{k} - is{k} * off) / (off + e)" for k in each]
    statements += ["T n_top = " + " + ".join(f"T(y{k} == top)" for k in each)]
    statements += ["loss = log1p(off + (e - T(1))) - at", "hit = T(at == T(0)) / max(n_top, T(1))"]
    reads = ", ".join(f"T y{k}" for k in each) + ", int64 label"
    return reads, ", ".join(f"T d{k}" for k in each) + ", T loss, T hit", ";".join(statements)


#: Name -> inputs, outputs and statements of a function for which CuPy, operation by operation, would read and write the
#: same memory many times. Statements are assignments that are valid C++ and, apart from the type, Python.
KERNELS = {
    "relu_backward": ("T g, T a", "T d", "d = g * T(a > T(0))"),
    "softplus": ("T z", "T a", "a = max(z, T(0)) + log1p(exp(-max(z, -z)))"),
    "softplus_backward": ("T g, T z, T a", "T d", "d = g * exp(z - a)"),
    "squared_error": ("T t, T x", "T e, T square", "T d = t - x; e = d; square = d * d"),
    "tanh_backward": ("T g, T t", "T d", "d = g * (T(1) - t * t)"),
    "cross_entropy": _cross_entropy(10),
    # Sums before the gates, in two parts, and the old state of the cell -> gates, state, its tanh, output.
    "lstm": (
        "T zi, T zf, T zg, T zo, T ri, T rf, T rg, T ro, T c0",
        "T vi, T vf, T vg, T vo, T c, T u, T h",
        """
        vi = T(0.5) + T(0.5) * tanh(zi + ri);
        vf = T(0.5) + T(0.5) * tanh(zf + rf);
        vg = tanh(zg + rg);
        vo = T(0.5) + T(0.5) * tanh(zo + ro);
        c = vf * c0 + vi * vg;
        u = tanh(c);
        h = vo * u
        """,
    ),
    # Gates, old state, tanh of the state, gradients by the output and by the state -> gradients by the gates' sums
    # and by the old state.
    "lstm_backward": (
        "T vi, T vf, T vg, T vo, T c0, T u, T dh, T dc",
        "T di, T df, T dg, T dq, T dc0",
        """
        T d = dc + (T(1) - u * u) * vo * dh;
        T a = vi * (T(1) - vi) * vg * d;
        T b = vf * (T(1) - vf) * c0 * d;
        T e = (T(1) - vg * vg) * vi * d;
        T q = vo * (T(1) - vo) * u * dh;
        T before = d * vf;
        di = a;
        df = b;
        dg = e;
        dq = q;
        dc0 = before
        """,
    ),
}

#!/usr/bin/env bash
# The iterative eigensolvers of SciPy stop by the size of the operator, and say nothing.
#
# Versions: SciPy 1.17.1, NumPy 2.4.6, Python 3.11.
# Guess before the run: `tol` of `eigsh` and of `lobpcg` is relative to the eigenvalues, so that an operator in other
#   units (times 1e-20 or 1e20) gives the same eigenvalues in these units.
# What happens:
#   eigsh  The test of ARPACK replaces a Ritz value below eps^(2/3) = 3.7e-11 by this number. At 1e-20 every residual
#          passes the first test: the lowest eigenvalues -1, 1.4975, 1.9950 come back, as converged, as about
#          -0.81, 2.9, 5.6. At 1e-12 the residual is above the tolerance that was asked for. At 1e20 all is well.
#   lobpcg The default tolerance is an absolute residual, n sqrt(eps). At 1e-8 and below, the values of the random start
#          (about 50 where 1 is right) are returned without an iteration and without a warning.
# Why it matters: Hessians of a mean loss, or of energies in hartree or joule, are of any size. The number of negative
#   eigenvalues, and so what is called a minimum or a saddle, depends on the unit. Divide the operator by an estimate
#   of its norm first, and check the residual yourself.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet numpy==2.4.6 scipy==1.17.1
cd "$dir"
venv/bin/python - <<'EOF'
import platform
import warnings

import numpy as np
import scipy
from scipy.sparse.linalg import LinearOperator, eigsh, lobpcg

warnings.simplefilter("error")
print("Python", platform.python_version(), "NumPy", np.__version__, "SciPy", scipy.__version__)
rng = np.random.default_rng(0)
exact = np.linspace(1, 100, 200)
exact[0] = -1
vectors, _ = np.linalg.qr(rng.normal(size=(200, 200)))
matrix = (vectors * exact) @ vectors.T
start = rng.normal(size=(200, 3))


def by_eigsh(scale):
    operator = LinearOperator(matrix.shape, matvec=lambda x: scale * (matrix @ x), dtype=float)
    values, kept = eigsh(operator, k=3, which="SA", tol=1e-8, v0=np.ones(200))
    residual = np.linalg.norm(scale * (matrix @ kept) - kept * values, axis=0) / abs(values)
    return values / scale, residual.max()


def by_lobpcg(scale):
    values, kept = lobpcg(scale * (matrix + 2 * np.eye(200)), start.copy(), largest=False, maxiter=500)
    residual = np.linalg.norm(scale * (matrix @ kept + 2 * kept) - kept * values, axis=0) / abs(values)
    return np.sort(values / scale) - 2, residual.max()


seen = {("eigsh", 1e20): (max(abs(by_eigsh(1e20)[0] - exact[:3])), None)}
for solver in (by_eigsh, by_lobpcg):
    for scale in (1.0, 1e-8, 1e-12, 1e-20):
        values, residual = solver(scale)
        wrong = np.max(abs(values - exact[:3]) / abs(exact[:3]))
        seen[solver.__name__[3:], scale] = wrong, residual
        name = solver.__name__[3:]
        print(f"{name:7s}{scale:7.0e}  {values.round(4)}  error {wrong:.0e}  relative residual {residual:.0e}")

assert seen["eigsh", 1e20][0] < 1e-9
assert seen["eigsh", 1.0][0] < 1e-9
assert seen["eigsh", 1.0][1] < 1e-8 < seen["eigsh", 1e-12][1]
assert seen["eigsh", 1e-20][0] > 0.1
assert seen["lobpcg", 1.0][0] < 1e-6
assert seen["lobpcg", 1e-8][0] > 10
EOF

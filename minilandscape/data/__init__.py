"""MNIST: where it is looked for, the files it comes in, splits, and the LSTM's permutation of the pixels.

Images and labels stay on the host; what arranges them for a network is in `networks`.
May import `backend`, `files`.
"""

from .cache import user_cache
from .images import DataError, Images, Mnist
from .load import WORDS, load_mnist, where_data_would_come_from
from .permutation import lstm_permutation

__all__ = [
    "WORDS",
    "DataError",
    "Images",
    "Mnist",
    "load_mnist",
    "lstm_permutation",
    "user_cache",
    "where_data_would_come_from",
]

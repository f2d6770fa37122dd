"""Files of other programs that hold minima and saddles: one module for each, between files and plain arrays.

PATHSAMPLE, pele and topsearch; what the arrays mean is in `analysis`.
May import `files`.
"""

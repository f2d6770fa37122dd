"""Files of other programs that hold minima and saddles: one module for each, between files and plain arrays."""

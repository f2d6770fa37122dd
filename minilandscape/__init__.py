"""minilandscape: train, connect and measure on loss and energy landscapes."""

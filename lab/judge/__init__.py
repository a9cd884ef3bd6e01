"""Reads from the pixels of a clip what it shows of the world, without a neural network."""

"""Samplers: a solver on a grid of noise levels, by the names people know."""

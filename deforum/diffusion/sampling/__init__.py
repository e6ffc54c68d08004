"""Samplers: solvers and noise-level grids, combined under the names people know."""

"""Adapters that act on a loaded model: control units (ControlNet, T2I-Adapter) and others.

An adapter wraps the denoiser (x, sigma) -> x0 that `Model.denoiser` returns, or the `Model` itself, or acts by way of a
frame's `Conditioning`, as control units do. Each adapter is a module in this package.
"""

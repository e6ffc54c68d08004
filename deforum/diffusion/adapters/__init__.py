"""Adapters that change a loaded model: LoRA, ControlNet, IP-Adapter and others. None is supported yet.

An adapter wraps the denoiser (x, sigma) -> x0 that `Model.denoiser` returns, or the `Model` itself. Each adapter is a
module in this package; the families' modules are not changed.
"""

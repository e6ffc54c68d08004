"""Adapters: LoRA, ControlNet, IP-Adapter and others that change a loaded model. None is supported yet.

An adapter wraps what a family gives: the function (x, sigma) -> x0 that `Model.denoiser` returns, or the `Model`
itself. Each has a module of its own here, and the families stay as they are.
"""

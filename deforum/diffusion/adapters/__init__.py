"""Adapters that act on a loaded model: LoRAs, IP-Adapters, references, and control units (ControlNet, T2I-Adapter).

An adapter adds branches beside layers (`deforum.models.branches`), wraps the denoiser (x, sigma) -> x0 that
`Model.denoiser` returns, or the `Model` itself, or acts by way of a frame's `Conditioning`, as control units do. Each
adapter is a module or a package here.
"""

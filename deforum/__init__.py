"""Keyframe animation with Stable Diffusion: a settings file in, a video out."""

__version__ = "0.1.0"

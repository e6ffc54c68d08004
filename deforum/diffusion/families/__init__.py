"""Families of diffusion models, a row each."""

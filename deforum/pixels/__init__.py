"""Pictures as tensors: the one convention, colour, sharpness, noise."""

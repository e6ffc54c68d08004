"""Pictures as tensors: the pixel convention, colour, sharpness, noise."""

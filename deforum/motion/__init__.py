"""Geometry without settings: how a picture moves, flat, in space by its depth, or by optical flow."""

"""Geometry of motion, independent of settings: flat (2D), in space by depth (3D), and by optical flow."""

"""Hybrid video: an animation that takes over the motion of a clip, and has the clip's pictures mixed into its own."""

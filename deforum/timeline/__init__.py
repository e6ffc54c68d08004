"""Schedules sampled for every frame of a run."""

"""Tests of deforum/camera_files."""

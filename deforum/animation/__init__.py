"""The loop: each frame is the last one, moved, given a source, filtered, diffused, and shown."""

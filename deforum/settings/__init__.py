"""What may stand in a settings file, and reading it."""

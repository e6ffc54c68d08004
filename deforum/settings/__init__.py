"""Settings: their declarations, and reading and writing settings files."""

"""Models on disk and in memory: where their weights are found, their device and precision, which stay loaded."""

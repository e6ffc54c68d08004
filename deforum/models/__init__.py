"""KeptModels on disk and in memory: where they are looked for, what they run on, and which are kept."""

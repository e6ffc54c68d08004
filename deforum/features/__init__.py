"""Features: the optional parts of a render."""

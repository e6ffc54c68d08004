"""Training of the embedded models from scratch, on procedurally drawn pictures."""

"""Prompts: what their syntax says, and the embeddings that a model reads."""

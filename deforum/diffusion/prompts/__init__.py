"""Prompts: their syntax, and their text embeddings."""

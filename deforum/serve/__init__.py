"""The live page and its REST API: runs as they render, a queue of runs, a settings editor."""

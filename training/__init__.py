"""How the embedded models are made, from nothing: a drawn world, and the models trained on it."""

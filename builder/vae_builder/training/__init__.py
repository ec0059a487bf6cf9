"""Training of a model: the loop, its steps and checkpoints."""

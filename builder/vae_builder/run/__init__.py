"""Training in a run folder, which can be resumed."""

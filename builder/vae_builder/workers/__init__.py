"""Workers of a training run: who they are, that they answer and agree, and the strategy."""

"""Model quality on data that was not used for training."""

"""Training: from data and choices to a trained model."""

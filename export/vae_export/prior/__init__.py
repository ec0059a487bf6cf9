"""Fitting of a mixture prior to the latent samples of the training data."""

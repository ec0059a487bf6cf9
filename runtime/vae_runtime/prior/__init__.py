"""A Gaussian mixture that is fitted to the latent samples of the data, as a prior to draw from."""

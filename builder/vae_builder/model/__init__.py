"""The Keras model: architectures, noise and objective."""

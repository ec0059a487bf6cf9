"""Export of Keras VAEs that were trained elsewhere: models in memory, or in files."""

"""Keras models trained elsewhere, adopted in the form that is exported."""

"""Keras models that were trained elsewhere, in the form that is exported."""

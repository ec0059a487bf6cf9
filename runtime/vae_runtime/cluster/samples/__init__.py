"""Samples of a part, as blocks; one module for each kind of source."""

"""Readers of data files, and conversion of their arrays to inputs of a graph."""

"""Graphs with a fixed batch size, with test data, for the tools of other runtimes."""

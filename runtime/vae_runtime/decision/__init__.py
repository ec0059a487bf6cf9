"""Decisions from scores: p-values with a guaranteed false-alarm rate."""

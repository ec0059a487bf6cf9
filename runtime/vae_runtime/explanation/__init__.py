"""Explanations: which elements, which part of the score, and what the sample is nearest to."""

"""Variants of a bundle in lower precision: made, measured and published."""

"""Rules about the numbers in samples: rounding, denormal values, standardization."""

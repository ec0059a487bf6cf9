"""Arrays in files of NumPy and IDX, and the meaning of their names."""

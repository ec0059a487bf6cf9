"""Read files into arrays, and bring arrays to the form that a graph takes."""

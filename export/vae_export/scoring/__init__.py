"""The anomaly score of a bundle: chosen, fitted, written as a graph, and calibrated."""

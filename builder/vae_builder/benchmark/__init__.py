"""TensorFlow as a peer in the benchmark of the runtime."""

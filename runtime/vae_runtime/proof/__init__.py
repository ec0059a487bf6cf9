"""The parity check against TensorFlow's values."""

"""The parity check: this runtime's results against TensorFlow's stored values."""

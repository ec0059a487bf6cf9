"""TensorFlow as the runtime's benchmark times it."""

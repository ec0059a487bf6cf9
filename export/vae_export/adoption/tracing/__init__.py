"""What Keras models and their TensorFlow graphs tell about their tensors."""

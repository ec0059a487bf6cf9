"""From a decoder's last layer to what the loss is computed from."""

"""The `build-vae` command, and the subcommands that need no TensorFlow."""

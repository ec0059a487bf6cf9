"""Parts of a user's models as new models: pruned, in float32, with fixed sizes."""

"""Search for the training options that suit a data set, with Optuna."""

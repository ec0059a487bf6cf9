"""From an encoder's outputs to z_mean and z_log_var."""

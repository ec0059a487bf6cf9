"""A loaded bundle: sessions, providers, threads, and the `VAERuntime` that users hold."""

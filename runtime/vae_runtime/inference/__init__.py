"""Inference: loading a bundle, sessions, providers, threads, and the public `VAERuntime`."""

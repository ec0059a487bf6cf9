"""The commands that build: export, train, quantize and edge."""

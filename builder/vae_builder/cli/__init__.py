"""The commands that build: export, train, search, quantize, edge and page."""

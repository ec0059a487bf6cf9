"""Readers of table files: chunks of cells, whatever the format."""

"""The bundle format: the manifest, and strict readers for a folder and for a single file."""

"""The bundle format: manifest, folder or single file, and strict readers for both."""

"""Files in strict forms: JSON, zip and npz; and writing that is complete or absent."""

"""Bundles from other people: verification of all precisions, sandbox, signatures."""

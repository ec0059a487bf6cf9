"""Bundles from others: verification of all precisions, sandbox, signatures."""

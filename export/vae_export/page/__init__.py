"""A bundle as one HTML file that proves itself in the reader's browser, with no network."""

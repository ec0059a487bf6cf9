"""Engines that run the parts of a job; each is a page behind one small protocol."""

"""Check of the edge forms in the runtimes that they are written for."""

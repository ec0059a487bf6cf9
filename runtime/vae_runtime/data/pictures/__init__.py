"""Pictures: read from files, tiled into grids, and written as PNG."""

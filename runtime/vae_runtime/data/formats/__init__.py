"""Readers of files that hold arrays by name, and of formats that another library owns."""

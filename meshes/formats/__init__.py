"""Readers of PLY and OBJ files."""

"""Backgrounds, streets, vehicles, occluders."""

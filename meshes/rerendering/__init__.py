"""Rendering of lifted people in other poses, places and lights."""

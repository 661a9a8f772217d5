"""Synthetic people: identity, body, clothing, hair, pose."""

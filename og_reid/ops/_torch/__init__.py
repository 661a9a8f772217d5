"""Plain-torch implementations in chunks."""

"""Plain-torch implementations that work in chunks, one file per operator."""

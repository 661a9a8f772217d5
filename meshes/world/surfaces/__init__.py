"""Mesh parts, primitives, fabrics, colours."""

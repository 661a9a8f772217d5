"""Similarity of embeddings, blocks of distances, nearest neighbours."""

"""Networks with their weights and preprocessing: loading, embedding, fusion."""

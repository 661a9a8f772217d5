"""Safe reading of tensors, YAML and settings: no code in a file is run."""

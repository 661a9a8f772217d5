"""Files that are read without running what they hold: tensors, YAML, settings."""

"""Random changes of a batch."""

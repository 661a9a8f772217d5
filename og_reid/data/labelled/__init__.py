"""Training batches of labelled images of the world, with heavy augmentation and exact truth."""

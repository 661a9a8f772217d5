"""Point clouds: sets and stores of them, lifting of images."""

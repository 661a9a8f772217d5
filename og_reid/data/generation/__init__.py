"""Generated images of the people of a data set, with truth, labels and provenance."""

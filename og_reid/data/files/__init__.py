"""Input files of data sets: images, tables, lists of inputs, locked folders."""

"""Files that data sets are read from: images, tables, lists of inputs, locked folders."""

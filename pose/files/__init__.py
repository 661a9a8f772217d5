"""Reading and writing files safely: errors that name the file, atomic writes, npz."""

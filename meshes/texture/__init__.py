"""UV texture of a lifted person: unwrapping of images, completion, merging."""

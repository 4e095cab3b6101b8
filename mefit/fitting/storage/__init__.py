"""A fit in a file, and out of it again."""

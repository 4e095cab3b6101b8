"""A file becomes subjects in one pass, each step a function with a name."""

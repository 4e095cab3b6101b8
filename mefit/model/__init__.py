"""What is estimated and over which domain; the two densities of a model."""

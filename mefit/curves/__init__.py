"""Mean curves, no randomness."""

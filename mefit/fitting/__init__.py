"""The one door to every method, and what comes out of it."""

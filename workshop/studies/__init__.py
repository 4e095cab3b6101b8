"""The simulated studies of the lessons, and what lessons share: one subject a file."""

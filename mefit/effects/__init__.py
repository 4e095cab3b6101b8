"""One subject's random effects, given theta."""

"""Whether a fit is to be believed."""

"""How sure a fit is, and which of several is better."""

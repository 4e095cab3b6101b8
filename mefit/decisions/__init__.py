"""What a fit is for."""

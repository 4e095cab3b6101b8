"""The lessons, and what belongs to them alone: their explorers, and the checks of their exercises."""

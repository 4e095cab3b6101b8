"""Loops: a first state, a step, a finish."""

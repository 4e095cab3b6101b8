"""SAEM: the algorithm, its iterations, its kinds of parameters."""

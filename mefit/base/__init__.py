"""Nothing here knows statistics: compiled programs, plain words, quasi-Newton and Newton."""

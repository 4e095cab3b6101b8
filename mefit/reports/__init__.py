"""A fit as one page that a reviewer can read: what was done, what came out, and what is weak."""

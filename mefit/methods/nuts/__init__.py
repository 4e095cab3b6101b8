"""Full Bayes by NUTS: the sampler, its draws, and what makes a posterior improper."""

"""Many runs of one question: sweeps over keys, comparisons of scenarios."""

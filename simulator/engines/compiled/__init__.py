"""The fast engine: a plan as numbers in one flat memory, run by compiled functions."""

"""From a trace to conclusions: numbers, what limits, what was met, what to beware of."""

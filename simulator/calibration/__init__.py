"""Reality: the small app, the served scenario, the load generator, probing, fitting, checking."""

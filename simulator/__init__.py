"""A discrete-event simulator of server concurrency models."""

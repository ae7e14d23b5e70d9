"""Engines: a plan and a workload in, a trace out."""

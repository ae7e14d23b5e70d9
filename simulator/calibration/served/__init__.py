"""A scenario as a real service: real processes, loops, threads, pools and a PostgreSQL.

``serve(scenario)`` starts it and stops it; ``refusals(scenario)`` says what can't be served.
"""

from simulator.calibration.served.failures import NotServable, NotStarted, ServeError
from simulator.calibration.served.refusals import refusals
from simulator.calibration.served.service import Running, serve

__all__ = ["NotServable", "NotStarted", "Running", "ServeError", "refusals", "serve"]

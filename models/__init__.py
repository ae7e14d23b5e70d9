"""SimPy models of what serves requests; usable in any SimPy script, without the rest."""

from models.balancer import two_choices
from models.clock import Clock, Owner
from models.connection_pool import Connection, ConnectionPool, PoolTimeout
from models.database import Database, TooManyConnections
from models.event_loop import EventLoop
from models.gil import GIL
from models.lock import RowLock
from models.slots import Slots
from models.threads import ServerThreads, ThreadLimiter
from models.workers import SyncWorkers

__all__ = [
    "GIL",
    "Clock",
    "Connection",
    "ConnectionPool",
    "Database",
    "EventLoop",
    "Owner",
    "PoolTimeout",
    "RowLock",
    "ServerThreads",
    "Slots",
    "SyncWorkers",
    "ThreadLimiter",
    "TooManyConnections",
    "two_choices",
]

"""SimPy models of what serves requests; usable in any SimPy script, without the rest."""

from models.balancer import two_choices
from models.clock import Clock, Owner
from models.connection_pool import Connection, ConnectionPool, PoolTimeout
from models.cores import Cores, Job
from models.database import Database, TooManyConnections
from models.event_loop import EventLoop
from models.gil import GIL
from models.gpu_batch import (
    Aborted,
    AcceleratorError,
    AcceleratorFull,
    Batcher,
    ContinuousBatcher,
)
from models.lock import (
    CommitLog,
    DeadlockDetected,
    LockRefused,
    RowLock,
    SerializationFailure,
    Transaction,
)
from models.rate_limit import (
    FixedWindow,
    LeakyBucket,
    RateLimited,
    SlidingWindow,
    TokenBucket,
)
from models.service import HttpClient, Service, ServiceFull
from models.slots import Slots
from models.threads import ServerThreads, ThreadLimiter
from models.workers import SyncWorkers

__all__ = [
    "GIL",
    "Aborted",
    "AcceleratorError",
    "AcceleratorFull",
    "Batcher",
    "Clock",
    "CommitLog",
    "Connection",
    "ConnectionPool",
    "ContinuousBatcher",
    "Cores",
    "Database",
    "DeadlockDetected",
    "EventLoop",
    "FixedWindow",
    "HttpClient",
    "Job",
    "LeakyBucket",
    "LockRefused",
    "Owner",
    "PoolTimeout",
    "RateLimited",
    "RowLock",
    "SerializationFailure",
    "ServerThreads",
    "Service",
    "ServiceFull",
    "SlidingWindow",
    "Slots",
    "SyncWorkers",
    "ThreadLimiter",
    "TokenBucket",
    "TooManyConnections",
    "Transaction",
    "two_choices",
]

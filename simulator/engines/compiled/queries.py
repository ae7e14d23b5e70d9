"""Queries on a database with cores or faults (``simulator.engines.transactions``)."""

from __future__ import annotations

from simulator.engines.compiled.code import GO
from simulator.engines.compiled.connection_pool import (
    CORES_CAUSE,
    DATABASE_CORES_STATION,
    DATABASE_FAULTS,
    QUERY_CORES,
)
from simulator.engines.compiled.cores import begin_job, set_job
from simulator.engines.compiled.faults import struck
from simulator.engines.compiled.jit import kernel
from simulator.engines.compiled.memory import NONE, NOW, SERVER, Memory
from simulator.engines.compiled.process import BACKEND_WAKE
from simulator.engines.compiled.recorder import visited
from simulator.engines.compiled.rows import outage
from simulator.engines.compiled.steps import JOB_OF_DATABASE, hold, wait_for
from simulator.engines.compiled.task import (
    BEGAN,
    JOB_MODE,
    NS,
    PENDING,
    PHASE,
    VALUE,
    book_until,
)
from simulator.engines.costs import COLD_AFTER_NS


@kernel
def query(m: Memory, task: int, cause: int, frees: int, database: int) -> int:
    """``QUERY``: a query of NS; ``database``: where others, or a fault, slow it down."""
    cores = m[database + QUERY_CORES] if database != 0 else 0
    if m[task + PHASE] == 0:
        if database != 0:
            ns = struck(m, m[database + DATABASE_FAULTS], m[NOW], m[task + NS])
            if ns == NONE:
                return outage(m, task, database)
            m[task + NS] = ns
        if cores == 0:  # the backend sleeps until then, and is late
            slept = min(m[task + NS], COLD_AFTER_NS)
            m[task + NS] += m[m[SERVER] + BACKEND_WAKE] * slept // COLD_AFTER_NS
    return database_hold(m, task, cause, frees, database, cores)


@kernel
def database_hold(m: Memory, task: int, cause: int, frees: int, database: int, cores: int) -> int:
    """Share these cores of the database, where it has some, for NS."""
    if cores == 0:
        return hold(m, task, cause, frees)
    if m[task + PHASE] == 0:
        if m[task + NS] == 0:
            return GO
        m[task + BEGAN] = m[NOW]
        m[task + JOB_MODE] = JOB_OF_DATABASE
        m[task + VALUE] = database
        set_job(m, task, m[task + NS])
        begin_job(m, cores, task)
        m[task + PENDING] = 1
    return wait_for(m, task, cause, frees, 0, 0)


@kernel
def database_job_ended(m: Memory, task: int) -> None:
    """What it took beyond the work was the wait for the cores."""
    database, work, began = m[task + VALUE], m[task + NS], m[task + BEGAN]
    now = m[NOW]
    book_until(m, task, now - work, m[database + CORES_CAUSE])
    visited(m, m[database + DATABASE_CORES_STATION], task, NONE, began, began, now, work)

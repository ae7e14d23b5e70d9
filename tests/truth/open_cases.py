"""What the model does not reproduce yet, and the mechanism that is missing."""

from __future__ import annotations

from tests.truth.cases import Case

_WORKER = (
    "a request costs 1.3 ms (`worker` 1.2, `sleep` .1), in these runs .8 to 1.1; beside a "
    "utilisation near to 1 it is much. With the run's own overhead the same replay agrees"
)
_LOST_TRIES = (
    "httpcore sends all who ask in one turn to the same idle connection; one gets it, the others "
    "try again, at .45 ms each in these runs (`models.service`, not modelled)"
)

OPEN: dict[str, str] = {}
"""Asserted cases that fail. A test shows that each of them really does."""

_CPU = "CPU speed drifts by 30 % within seconds: its costs are those of another minute"
_GIL = (
    "means within 20 %: how often a loop loses the GIL follows from how long a woken thread "
    "takes (`gil: {{wake}}`, 12 us; these runs fit 10), which differs from minute to minute{}"
)

REPORTED = {
    "c01_gsync_w1_hello1000": "`worker` (1.2 ms) has the client's connect in it; a handler that "
    "does nothing took .8 ms",
    "c03_balance": "the order in which epoll wakes workers is systematic, and whoever wakes "
    "drains accept(): shares are an input (`server.accept: {weights}`), here dealt at random",
    "c03_def_u4": "the load generator shares the two cores with four workers; new connections "
    "cost nothing (accept, a new protocol object): the front of a burst takes up to 30 ms longer",
    "c04_async_u1_n1000_newconn": "loop CPU was .32 ms a request in this run, not .28 + .15",
    "c04_cpu_overhead": "in a busy loop a request costs .23 ms (async) or .45 (def) where a burst "
    "costs .43 and .63: reads and writes of one turn are cheaper together",
    "c06_burn_async_u1_20ms": _CPU + " (20 ms took 25)",
    "c06_burn_async_u2": _CPU + "; the load generator shares the two cores",
    "c06_burn_def": _CPU + "; switching between 40 threads costs 16 to 42 % more CPU at 2 ms",
    "c06_norm/burn_async": _CPU,
    "c06_norm/burn_def": "switching between threads costs 5 to 10 % more CPU at 20 ms, 16 to 42 % "
    "at 2 ms; completions are spread more (their median at .9 of the makespan, here at 1)",
    "c06_switchinterval/swi0.005_k4": _GIL.format(
        ". Runs of this configuration differ twofold: medians of 39 to 91 ms here, 41 to 46 in c15"
    ),
    "c06_switchinterval/swi0.0005": _GIL.format(
        "; a hand-over takes some 30 us, which counts beside an interval of 500"
    ),
    "c06_switchinterval": _GIL.format(""),
    "c07_connect_burst": "the loop, asyncpg's own CPU and the load generator share the two cores "
    "with the forks (here each has them alone); while it connects, a client is busy too: 4 to "
    "4.8 ms a connection, here 2.7",
    "c07_pool10_closed": "CPU per request of an asyncpg query (.5 ms in all) beyond loop_before "
    "and loop_after: the driver's parsing and its futures (`query_cpu`, not measured there)",
    "c09_fan_def": "under 40 threads a blocking call costs more CPU than its 1.4 ms (GIL "
    "switches), more than in the run of one",
    "c09_fan_gather_aio": "services that answer share the two cores",
    "c09_fan": "one client of 100 connections calls all four services, here each has its own: of "
    "200 calls at once a hundred wait, and are scanned; " + _LOST_TRIES,
    "c09_httpx": "with its caches warm, among a hundred others, a call takes 2 ms of CPU, alone 4 "
    "to 5 (`client_call`), and a call that times out less; and " + _LOST_TRIES,
    "c11": _WORKER,
    "c15_loop_under_gil": _GIL.format(""),
}
"""By the start of the run's name: what CPU- and GIL-bound runs have that the model has not."""


def reason(case: Case) -> str:
    """Why a case is off, as far as it is known."""
    if case.label in OPEN:
        return OPEN[case.label]
    found = [why for start, why in REPORTED.items() if case.run.startswith(start)]
    return found[0] if found else "not explained"

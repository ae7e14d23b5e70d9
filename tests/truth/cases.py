"""The cases: each recorded run, the scenario that means the same, and what is compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum


class Bound(Enum):
    """What a run is bound by: CPU costs drift by 30 % in seconds, so those are reported only."""

    SLEEP = "sleep"
    DATABASE = "database"
    CPU = "cpu"
    GIL = "gil"
    SPLIT = "split"  # by nothing but which worker the kernel wakes: an input of a scenario


ASSERTED = (Bound.SLEEP, Bound.DATABASE)


@dataclass(frozen=True, slots=True)
class Case:
    """A recorded run, its scenario, and the figures that are compared.

    ``own_overhead``: a second row with the overhead that was measured in this very run,
    to tell the queue apart from the cost per request that it is sensitive to.
    ``warm``: compared with the last repeat, of a server that had served before, where the
    file is the first. ``cold``: the overheads in ``COLD`` that its server had to pay in it.
    """

    run: str
    scenario: str
    bound: Bound = Bound.SLEEP
    figures: tuple[str, ...] = ("makespan", "p50", "p95")
    vars: tuple[tuple[str, str], ...] = ()
    chance: bool = False  # a split, a lock's order or the GIL's hand-over decides
    service: str = ""  # the stream that takes the recorded service times
    own_overhead: bool = False
    warm: bool = False
    cold: tuple[str, ...] = ()

    @property
    def group(self) -> str:
        return self.run[:3]

    @property
    def label(self) -> str:
        """Its name in the table and in ``OPEN``."""
        if self.warm:
            return f"{self.run} (warm)"
        return f"{self.run} (own overhead)" if self.own_overhead else self.run


_BURST = ("makespan", "p50", "p95", "ok")
_LONG = ("mean", "p50", "p95")
_BLOCK = "routes.work.steps[0].block"
_QUERY = "routes.work.steps[0].time"
_GIL = ("mean", "p50", "p90")
_ASYNC, _DEF = ("handler", "async def"), ("handler", "def")


def _sync() -> Iterator[Case]:
    yield Case("c01_gsync_w1_hello1000", "c01-hello", Bound.CPU)
    for run in ("w1_n3", "w1_n20", "w4_n3"):
        yield Case(f"c01_gsync_{run}", "c01-sync")
    for delay in ("0.0", "0.1", "0.5", "5.0"):
        vars = (("close_delay", f"{float(delay) * 1e3:g}ms"),)
        yield Case(f"c01_linger/{delay}", "c01-sync", Bound.SLEEP, _LINGER, vars)


_LINGER = ("first", "second", "third")


def _threads() -> Iterator[Case]:
    threads = (("threads", "8"),)
    for run in ("w1t8_n8", "w1t8_n20"):
        yield Case(f"c02_gthread_{run}", "c02-gthread", vars=threads)
    yield Case("c02_gthread_w4t8_n32", "c02-gthread", vars=threads, chance=True)


def _def() -> Iterator[Case]:
    for run in ("u1_n3", "u1_n40", "u1_n100", "u1_n1000_5s_TRUE"):
        yield Case(f"c03_def_{run}", "c03-def")
    # Its first handler began at 32 ms, the whole burst read, of .28 ms each: nothing was imported.
    yield Case("c03_def_u1_n100_cold", "c03-def", cold=("thread_start",))
    for run in ("u2_n100_preconnect_burst", "u2_n100_preconnect_gap2ms"):
        yield Case(f"c03_def_{run}", "c03-def", chance=True)
    for run in ("u4_n100_connect_at_send", "u4_n100_preconnect_gap2ms"):
        yield Case(f"c03_def_{run}", "c03-def", Bound.CPU, chance=True)
    for workers in ("2", "4"):
        for loop in ("uvloop", "asyncio"):
            for kind in (
                "gap5ms_newconn_fast_400",
                "poisson400_newconn_async_sleep50ms",
                "burst100_preconnect",
            ):
                row = f"c03_balance/w{workers}_{loop}_{kind}"
                vars = (("workers", workers),)
                yield Case(row, "c03-balance", Bound.SPLIT, ("share",), vars, chance=True)


def _async() -> Iterator[Case]:
    yield Case("c04_async_u1_n3", "c04-async")
    yield Case("c04_async_u1_n100", "c04-async")
    yield Case("c04_async_u1_n1000_newconn", "c04-async", Bound.CPU)
    closed = (("fast_async", _ASYNC), ("fast_def", _DEF))
    for row, handler in closed:
        name = f"c04_cpu_overhead/{row}"
        yield Case(name, "c04-closed", Bound.CPU, ("rps", "p50"), (handler,))
    steps = (_ASYNC, ("steps", "[{await: 1ms}]"))
    name = "c04_cpu_overhead/async_sleep0.001"
    yield Case(name, "c04-closed", Bound.CPU, ("rps", "p50"), steps)
    yield Case("c05_asyncblock_u1_n3", "c05-async-block")


def _burn() -> Iterator[Case]:
    for run in ("async_u1_20ms_n20", "async_u1_2ms_n100"):
        yield Case(f"c06_burn_{run}", "c06-burn", Bound.CPU, vars=(_ASYNC,))
    yield Case("c06_burn_async_u2_20ms_n20", "c06-burn", Bound.CPU, vars=(_ASYNC,), chance=True)
    for run in ("u1_2ms_n100", "u2_20ms_n20", "u2_2ms_n100"):
        yield Case(f"c06_burn_def_{run}", "c06-burn", Bound.GIL, vars=(_DEF,), chance=True)
    for handler, vars in (("async", _ASYNC), ("def", _DEF)):
        bound = Bound.CPU if vars is _ASYNC else Bound.GIL
        for run in ("u1_20ms_n20", "u1_2ms_n100"):
            name = f"c06_norm/burn_{handler}_{run}"
            chance = bound is Bound.GIL
            yield Case(name, "c06-burn", bound, ("makespan", "p50"), (vars,), chance)
    for interval in ("0.0005", "0.005", "0.02"):
        for k in ("1", "4"):
            every = f"{float(interval) * 1e3:g}ms"
            light = (("k", k), ("burn", "100ms"), ("switch_interval", every))
            name = f"c06_switchinterval/swi{interval}_k{k}"
            yield Case(name, "c15-light", Bound.GIL, ("p50", "p90", "p95"), light, True)


def _pools() -> Iterator[Case]:
    for run in ("5_u1_n100", "50_u1_n200", "50_u1_n1000_s0.5", "50_u1_n1000_5s_TRUE"):
        yield Case(f"c07_pool{run}", "c07-pool", Bound.DATABASE)
    yield Case("c07_pool10_u2_n100", "c07-pool", Bound.DATABASE, chance=True)
    nothing = (("sleep", "0s"),)
    yield Case("c07_pool_seq", "c07-pool", Bound.DATABASE, _LONG, (("pool", "10"), *nothing))
    for users in ("10", "50"):
        name = f"c07_pool10_closed{users}"
        yield Case(name, "c07-closed", Bound.CPU, ("rps", "p50"), (("users", users),))
    yield Case("c07_connect_seq", "c07-connect", Bound.DATABASE, _LONG, nothing)
    for n in ("50", "90", "300"):
        yield Case(f"c07_connect_burst{n}", "c07-connect", Bound.CPU)
        yield Case(f"c07_connect_burst{n}", "c07-connect", Bound.DATABASE, ("ok",))
    for run in ("n15", "n30"):
        yield Case(f"c07_sa_default_{run}", "c07-sqlalchemy", Bound.DATABASE)


def _rows() -> Iterator[Case]:
    held = (("sleep", "100ms"),)
    yield Case("c08_row_diff_n20", "c08-rows", Bound.DATABASE, vars=held)
    yield Case("c08_row_same_n20", "c08-row", Bound.DATABASE, vars=held, chance=True)
    for isolation, sizes in (("repeatable_read", (5, 20)), ("serializable", (5, 10))):
        for n in sizes:
            vars = (("sleep", "50ms"), ("isolation", isolation))
            name = f"c08_{isolation}_n{n}"
            yield Case(name, "c08-first-updater", Bound.DATABASE, vars=vars, chance=True)


def _services() -> Iterator[Case]:
    yield Case("c09_aiolimiter20per1_n60", "c09-limiter")
    for n in ("n1", "n20"):
        yield Case(f"c09_fan_asyncblock_{n}", "c09-fan-blocking", vars=(_ASYNC,))
    yield Case("c09_fan_def_n1", "c09-fan-blocking", vars=(_DEF,))
    yield Case("c09_fan_def_n50", "c09-fan-blocking", Bound.CPU, vars=(_DEF,), chance=True)
    for n, bound in (("n1", Bound.SLEEP), ("n50", Bound.CPU)):
        yield _calling(f"fan_gather_aio_{n}", "c09-fan-gather", bound)
    for kind in ("gather", "seq"):
        yield _calling(f"fan_{kind}_n1", f"c09-fan-{kind}", Bound.SLEEP)
        for n in ("n20", "n50"):
            yield _calling(f"fan_{kind}_{n}", f"c09-fan-{kind}", Bound.CPU)
    for n in ("n100", "n200"):
        case = _calling(f"httpx_default_{n}", "c09-httpx", Bound.CPU)
        yield replace(case, figures=_BURST, vars=_HTTPX)
    timeout = (("sleep", "250ms"), ("connections", "10"), ("pool_timeout", "600ms"))
    yield Case("c09_httpx_max10_timeout0.6_n60", "c09-httpx", Bound.SLEEP, _BURST, timeout)
    for row, (sleep, timeout_ms) in enumerate(_HTTPX_POOL):
        vars = (("sleep", sleep), ("connections", "10"), ("pool_timeout", timeout_ms))
        bound = Bound.CPU if row in (2, 3) or row > 4 else Bound.SLEEP
        yield Case(f"c09_httpx_pool/{row}", "c09-httpx", bound, ("makespan", "ok"), vars)


def _calling(name: str, scenario: str, bound: Bound) -> Case:
    vars = (("library", "aiohttp"),) if "aio" in name else ()
    return Case(f"c09_{name}", scenario, bound, vars=vars)


_HTTPX = (("sleep", "250ms"), ("connections", "100"))
_HTTPX_POOL = (
    ("250ms", "600ms"),
    ("1s", "600ms"),
    ("250ms", "200ms"),
    ("250ms", "5s"),
    ("250ms", "60s"),
    ("250ms", "60s"),
    ("250ms", "60s"),
)


def _batches() -> Iterator[Case]:
    for rate in ("l50", "l300"):
        yield Case(f"c10_batch8_10ms_{rate}", "c10-batcher", figures=_LONG)


def _queues() -> Iterator[Case]:
    for law in ("MD1_rho0.3", "MD1_rho0.6", "MD1_rho0.9", "MM1_rho0.3", "MM1_rho0.8", "MM1_rho0.9"):
        # Near a utilisation of 1 the queue multiplies the CPU per request: that drifts, so what
        # is asserted is the queue, with the overhead that its own run had.
        case = Case(f"c11_{law}", "c01-sync", Bound.CPU, _LONG, service=_BLOCK)
        yield case
        yield replace(case, bound=Bound.SLEEP, own_overhead=True)
    for law in ("MM5_rho0.3", "MM5_rho0.6"):
        five = (("pool", "5"),)
        yield Case(f"c11_{law}", "c07-pool", Bound.DATABASE, _LONG, five, False, _QUERY)


# Inferred from first chunks, not recorded: `async_n1` came first (47 ms, then 23), `def_n1` did not
# (23 and 22) and needed one thread, `def_n40` the others (83 ms, then 51).
_COLD = {("async", "n1"): ("first_request",), ("def", "n40"): ("thread_start",)}


def _streams() -> Iterator[Case]:
    for kind, handler in (("async", _ASYNC), ("def", _DEF)):
        for n in ("n1", "n40"):
            case = Case(f"c12_sse_{kind}_{n}", "c12-sse", vars=(handler,), warm=True)
            yield replace(case, warm=False, cold=_COLD.get((kind, n), ()))
            yield case
    for row in ("auto_deflateTrue", "websockets-sansio_deflateTrue", "thread_per_conn"):
        yield Case(f"c12_ws/{row}", "c04-async", figures=("KiB",))


def _overload() -> Iterator[Case]:
    yield Case("c13_limit20_async_sleep_conn_n60", "c13-limit", figures=_BURST)
    yield Case("c13_limit20_async_sleep_pre_n60", "c13-limit", figures=("ok",))
    for rate in ("300", "480"):
        name = f"c13_timeout0.5_rate{rate}_retry0"
        yield Case(name, "c13-abort", figures=_BURST)


def _timers() -> Iterator[Case]:
    for loop in ("uvloop", "asyncio"):
        for slept in ("0.001", "0.005", "0.02", "0.05", "0.25"):
            step = ("step", f"{{await: {float(slept) * 1e3:g}ms}}")
            vars = (step, ("loop", loop))
            name = f"c14_timers/{loop}_sleep_{slept}"
            yield Case(name, "c14-timer", Bound.SLEEP, ("held",), vars)
    for slept in ("0.001", "0.005", "0.02", "0.05", "0.25"):
        step = ("step", f"{{block: {float(slept) * 1e3:g}ms}}")
        name = f"c14_timers/time.sleep_{slept}"
        yield Case(name, "c14-timer", Bound.SLEEP, ("held",), (step, _DEF))


def _light() -> Iterator[Case]:
    for loop in ("uvloop", "asyncio"):
        for k, burn in (("1", "100ms"), ("4", "100ms"), ("4", "20ms")):
            vars = (("loop", loop), ("k", k), ("burn", burn))
            name = f"c15_loop_under_gil/{loop}_k{k}_{burn}"
            yield Case(name, "c15-light", Bound.GIL, _GIL, vars, True)


CASES = tuple(
    case
    for group in (
        _sync, _threads, _def, _async, _burn, _pools, _rows, _services, _batches,
        _queues, _streams, _overload, _timers, _light,
    )
    for case in group()
)  # fmt: skip
"""All of them, in the order of their groups."""

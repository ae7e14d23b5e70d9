"""Sends a plan's load to a URL: checks what is allowed, runs the generator's process."""

from __future__ import annotations

import ipaddress
import pickle
import queue
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from simulator.calibration.generator.budget import Budget
from simulator.calibration.generator.job import Begun, Job, Raw
from simulator.calibration.generator.live import Live, late, live_of
from simulator.calibration.generator.problems import (
    CouldNotKeepUp,
    GeneratorError,
    NotAllowed,
    Unreachable,
)
from simulator.plan import Plan
from simulator.workload import Workload

RAMP_NS = 50_000_000
"""Between the opening of kept connections and the first request."""
SPARE_SOCKETS = 64


def drive(
    plan: Plan,
    workload: Workload,
    url: str,
    *,
    budget: Budget | None = None,
    allow_remote: bool = False,
    time_max_ns: int | None = None,
    wait_s: float = 0.0,
    begins: Callable[[int], None] = lambda origin_ns: None,
    progress: Callable[[int], None] = lambda begun: None,
) -> Live:
    """Send a plan's load to a server and measure every request.

    Open loads are sent at their instants whatever the server does, and latency counts from
    the *intended* instant. A generator that waited for answers, or counted from when it got
    round to sending, would leave out just the requests that a stall makes wait (coordinated
    omission).

    Parameters
    ----------
    plan : Plan
        Its loads, client and routes; the rest is what the server is said to be.
    workload : Workload
        Arrivals, routes, backoffs and thinking times: those of a simulation.
    url : str
        Such as ``http://127.0.0.1:8000``.
    budget : Budget, optional
        Checked before anything is sent.
    allow_remote : bool
        Whether the load may leave this machine.
    time_max_ns : int, optional
        When the run is cut, if before the budget's time; what is unanswered is in flight.
    wait_s : float
        How long to wait for somebody to listen at the URL.
    begins : callable
        Called just before the first request with the instant that the trace counts from.
    progress : callable
        Called twice a second with the number of requests begun.

    Returns
    -------
    Live
        Also after Ctrl-C, a server that died or time that was over: ``partial`` says why.

    Raises
    ------
    NotAllowed, Unreachable
        Nothing was sent.
    CouldNotKeepUp
        It sent too late; what was measured is no measurement of the server.
    """
    job = _job(plan, workload, url, budget or Budget(), allow_remote, time_max_ns)
    _connect(url, job, wait_s)
    live = live_of(plan, _run(job, begins, progress))
    problem = late(live)
    if problem:
        raise CouldNotKeepUp(problem, live)
    return live


def _job(
    plan: Plan,
    workload: Workload,
    url: str,
    budget: Budget,
    allow_remote: bool,
    time_max_ns: int | None,
) -> Job:
    """What is to be sent, after all checks that need no network."""
    host, family, address = _address(url, allow_remote)
    arrival, route = workload.arrivals()
    budget.check(plan, arrival)
    _check_sockets(plan)
    return Job(
        plan, workload.seed, workload.replication, arrival, route, host, family, address,
        budget.requests, float(budget.rate), min(time_max_ns or budget.time_ns, budget.time_ns),
        RAMP_NS,
    )  # fmt: skip


def _address(url: str, allow_remote: bool) -> tuple[str, int, tuple[Any, ...]]:
    """Host header, family and address of a URL; loopback, unless more is allowed."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise NotAllowed(f"'{url}' is no URL that can be measured, expected http://host:port")
    port = parts.port or 80
    try:
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Unreachable(f"{url}: no such host: {error.strerror}") from None
    family, _, _, _, address = found[0]
    if not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback and not allow_remote:
        raise NotAllowed(
            f"{url} is not on this machine, nothing was sent; --allow-remote if its owner agrees"
        )
    return parts.netloc, family, address


def _check_sockets(plan: Plan) -> None:
    """Raise if this system gives a process fewer sockets than the load may need at once."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    users = sum(load.users for load in plan.loads)
    most = max(plan.client.kept_connections, users)
    if hard != resource.RLIM_INFINITY and most + SPARE_SOCKETS > hard:
        raise GeneratorError(
            f"{most} connections at once, but this system allows a process {hard} open files; "
            f"ulimit -Hn {most + SPARE_SOCKETS}, or a smaller load"
        )


def _connect(url: str, job: Job, wait_s: float) -> None:
    """Raise unless somebody listens; a server may take ``wait_s`` to start."""
    until = time.monotonic() + wait_s
    while True:
        with socket.socket(job.family, socket.SOCK_STREAM) as sock:
            sock.settimeout(5.0)
            try:
                sock.connect(job.address)
                return
            except OSError as error:
                if time.monotonic() >= until:
                    why = error.strerror or "no answer within 5 s"
                    waited = f" (waited {wait_s:g} s)" if wait_s else ""
                    raise Unreachable(
                        f"can't connect to {url}: {why}{waited}; is the server running?"
                    ) from None
        time.sleep(0.05)


def _run(job: Job, begins: Callable[[int], None], progress: Callable[[int], None]) -> Raw:
    command = [sys.executable, "-m", "simulator.calibration.generator"]
    pipe = subprocess.PIPE
    # A session of its own: Ctrl-C reaches the parent alone, which asks for what there is.
    process = subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
    )
    messages: queue.Queue[Any] = queue.Queue()
    threading.Thread(target=_read, args=(process, messages), daemon=True).start()
    try:
        assert process.stdin is not None
        pickle.dump(job, process.stdin, protocol=pickle.HIGHEST_PROTOCOL)
        process.stdin.flush()
        while True:
            try:
                message = messages.get()
            except KeyboardInterrupt:
                process.terminate()
                continue
            if isinstance(message, Begun):
                begins(message.origin_ns)
            elif isinstance(message, int):
                progress(message)
            elif isinstance(message, Raw):
                return message
            else:
                raise GeneratorError(f"the load generator broke off: {message}")
    finally:
        _end(process)


def _read(process: subprocess.Popen[bytes], messages: queue.Queue[Any]) -> None:
    """Hand on what the process says, until it says no more."""
    assert process.stdout is not None and process.stderr is not None
    try:
        while True:
            message = pickle.load(process.stdout)
            messages.put(message)
            if isinstance(message, Raw):
                return
    except (EOFError, pickle.UnpicklingError, OSError):
        said = process.stderr.read().decode("utf-8", "replace").strip().splitlines()
        messages.put(said[-1] if said else "it said nothing")


def _end(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stderr is not None:
        process.stderr.close()

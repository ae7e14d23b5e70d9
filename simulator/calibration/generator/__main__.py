"""The generator's own process: a job on stdin, messages on stdout, both pickled.

A process of its own, so that no other thread's work keeps it from sending on time. It ends
when its parent does: stdin stays open for as long as that lives.
"""

from __future__ import annotations

import gc
import pickle
import resource
import signal
import sys
from selectors import EVENT_READ
from typing import Any, BinaryIO

from simulator.calibration.generator.job import Begun, Job
from simulator.calibration.generator.loop import Loop, now_ns
from simulator.calibration.generator.requests import Sender
from simulator.workload import Workload

PROGRESS_NS = 500_000_000


def main() -> None:
    """Read the job, send it, write what was measured."""
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    job: Job = pickle.load(source)
    _allow_sockets()
    loop = Loop()
    workload = Workload(job.plan, seed=job.seed, replication=job.replication)
    sender = Sender(job, loop, workload)
    signal.signal(signal.SIGTERM, lambda *_: sender.cut("interrupted"))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    loop.selector.register(source, EVENT_READ, lambda _: sender.cut("interrupted"))

    def progress(_: Any) -> None:
        _write(sink, sender.begun)
        loop.at(now_ns() + PROGRESS_NS, progress)

    loop.at(now_ns() + PROGRESS_NS, progress)
    # Nothing here is cyclic for long; a collection in the middle would make sends late.
    gc.freeze()
    gc.disable()
    _write(sink, sender.run(lambda origin: _write(sink, Begun(origin))))


def _write(sink: BinaryIO, message: Any) -> None:
    try:
        pickle.dump(message, sink, protocol=pickle.HIGHEST_PROTOCOL)
        sink.flush()
    except BrokenPipeError:
        sys.exit(1)  # the parent is gone


def _allow_sockets() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    main()

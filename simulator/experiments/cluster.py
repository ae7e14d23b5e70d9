"""Runs on a cluster of Dask: `--cluster tcp://host:8786`, extra ``[cluster]``.

A worker that dies loses only what it was computing, which the scheduler gives to another. Each
worker needs this simulator, of the same version; it loads no code from here.

Not modelled: workers of several versions, files that a scenario names (they have to be at the
same path on every worker).
"""

from __future__ import annotations

from collections.abc import Hashable
from types import TracebackType
from typing import Any, Self

from simulator.experiments.executors import AHEAD, Outcome, Task, compute
from simulator.version import VERSION

WAIT_S = 30
"""Seconds within which the scheduler has to answer, and a worker to be there."""


class ClusterError(Exception):
    """Why a cluster can't be used."""


class Cluster:
    """The workers of a Dask scheduler.

    Raises
    ------
    ClusterError
        If Dask is not installed, nobody answers, or a worker has another version.
    """

    def __init__(self, address: str) -> None:
        try:
            from distributed import Client, as_completed
        except ImportError:
            raise ClusterError(
                "Dask is not installed: pip install 'concurrency-simulator[cluster]'"
            ) from None
        try:
            self._client = Client(address, timeout=WAIT_S, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ClusterError(
                f"no scheduler answers at {address}, expected tcp://HOST:PORT of a running "
                f"dask scheduler ({type(error).__name__})"
            ) from None
        try:
            self._client.wait_for_workers(1, timeout=WAIT_S)
            versions = set(self._client.run(_version, on_error="return").values())
        except (OSError, TimeoutError):
            self._client.close()
            raise ClusterError(f"{address} has no workers: dask worker {address}") from None
        if versions != {VERSION}:
            self._client.close()
            found = ", ".join(sorted(map(str, versions)))
            raise ClusterError(f"workers have another simulator than {VERSION}: {found}")
        self._threads: int = sum(self._client.nthreads().values())
        self._done = as_completed([], loop=self._client.loop)
        self._keys: dict[Any, Hashable] = {}

    @property
    def room(self) -> int:
        return AHEAD * max(self._threads, 1)

    def submit(self, key: Hashable, task: Task) -> None:
        future = self._client.submit(_computed, task, pure=False)
        self._keys[future.key] = key
        self._done.add(future)

    def next(self) -> tuple[Any, Outcome]:
        future = next(self._done)
        outcome, crash = future.result()
        if crash is not None:
            raise RuntimeError(f"on a worker: {crash}")
        return self._keys.pop(future.key), outcome

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._client.close()


def _computed(task: Task) -> tuple[Outcome | None, str | None]:
    """What came of a task, or what went wrong: not every error survives the way back."""
    try:
        return compute(task), None
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"


def _version() -> str:
    return VERSION

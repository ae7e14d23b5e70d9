"""What pictures and tables want of every replication, kept while its process still has it.

Only the few numbers of ``Measured`` travel between processes. What is larger goes through files
in a folder of the machine on which all of them run, and is gone with the folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from simulator.record import dataclass
from simulator.report import files
from simulator.report.curves import latencies

if TYPE_CHECKING:
    from simulator.answer import Answer
    from simulator.report.curves import Latencies

_PREFIX = "of "  # a route may be called as an argument of ``savez``


@dataclass(frozen=True, slots=True)
class Kept:
    """Keeps of each replication what is asked for."""

    folder: str
    curves: bool = False  # latency against percentile
    rows: bool = False  # requests and visits

    def __call__(self, answer: Answer, replication: int) -> None:
        """To be called with every replication, in any process and any order."""
        if self.curves:
            named = {_PREFIX + name: kept for name, kept in latencies(answer.summary).items()}
            np.savez(self._curves(replication), allow_pickle=True, **named)
        if self.rows:
            for path, write in zip(self.tables(replication), files.TABLES.values(), strict=True):
                write(path, answer.scenario.plan, answer.trace, replication=replication + 1)

    def latencies(self, replications: int) -> list[Latencies]:
        """Of the first replications, in their order."""
        found: list[Latencies] = []
        for replication in range(replications):
            with np.load(self._curves(replication)) as file:
                found.append({name.removeprefix(_PREFIX): file[name] for name in file.files})
        return found

    def tables(self, replication: int) -> tuple[Path, ...]:
        """The files of a replication's tables, one for each of ``files.TABLES``."""
        return tuple(Path(self.folder, f"{replication}-{name}") for name in files.TABLES)

    def _curves(self, replication: int) -> Path:
        return Path(self.folder, f"{replication}.npz")

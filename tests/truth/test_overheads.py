"""Where the overheads of a stream are paid, to the nanosecond."""

from __future__ import annotations

from simulator.engines.reference import run
from simulator.scenario import loads
from simulator.workload import Workload

_SCENARIO = """
load: {{requests: 1, at: once}}
server: {{preset: fastapi, overheads: {overheads}}}
routes:
  events: {{handler: {handler}, steps: [{{stream: {{chunks: 2, every: 10ms}}}}]}}
"""


def _finish_ms(handler: str, overheads: str) -> float:
    plan = loads(_SCENARIO.format(handler=handler, overheads=overheads)).plan
    return float(run(plan, Workload(plan)).finish_ns[0] / 1e6)


def test_each_chunk_of_a_stream_pays_the_overshoot_of_its_sleep() -> None:
    assert _finish_ms("async def", "{timer: 1ms}") == 2 * 11.0


def test_each_next_of_a_sync_iterator_pays_a_hop_and_so_does_the_one_that_ends_it() -> None:
    # The handler itself is a hop as well.
    assert _finish_ms("def", "{thread_hop: 2ms}") == 2.0 + 2 * 12.0 + 2.0

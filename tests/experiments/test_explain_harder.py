"""`sim explain` in harder scenarios: two loads, gather, retries, closed users, streams, gthread.

What is expected is reckoned by hand: the capacities are in the texts.
"""

from __future__ import annotations

import pytest

from simulator.experiments.explain import explain

HARDER = [
    (
        "a burst beside a steady load on one pool",
        """\
pools: {db: {size: 3}}
services: {pay: {time: 200ms, concurrency: 12}}
routes:
  a: {handler: async def, steps: [{query: db, time: 100ms}, {call: pay}],
    load: {rate: 40/s, arrivals: constant, for: 6s}}
  b: {handler: async def, steps: [{query: db, time: 100ms}], load: {requests: 50, at: once}}
""",
        ["pool db", "nothing"],
    ),
    (
        "gather: the slower branch's service",
        """\
load: {requests: 200, at: once}
services: {x: {time: 100ms, concurrency: 5}, y: {time: 100ms, concurrency: 8}}
routes:
  a: {handler: async def, steps: [{gather: [{call: x}, {call: y}]}]}
""",
        ["service x", "service y", "nothing"],
    ),
    (
        "gather of a pool and a service",
        """\
load: {requests: 200, at: once}
pools: {db: {size: 4}}
services: {x: {time: 100ms, concurrency: 10}}
routes:
  a: {handler: async def, steps: [{gather: [{query: db, time: 100ms}, {call: x}]}]}
""",
        ["pool db", "service x", "nothing"],
    ),
    (
        "httpx's connections, then the service",
        """\
load: {requests: 200, at: once}
services: {x: {time: 100ms, concurrency: 150, client: {connections: 100}}}
routes:
  a: {handler: async def, steps: [{call: x}]}
""",
        ["client x", "service x", "nothing"],
    ),
    (
        "retries on a service that is too small",
        """\
services: {x: {time: 100ms, concurrency: 4}}
load: {rate: 60/s, arrivals: constant, for: 6s}
routes:
  a: {handler: async def, steps: [{call: x, timeout: 300ms, retries: {max: 2, backoff: 100ms}}]}
""",
        ["service x", "nothing"],
    ),
    (
        "closed users: pool then loop",
        """\
load: {users: 50, think: 100ms, for: 6s}
pools: {db: {size: 4}}
routes:
  a: {handler: async def, steps: [{query: db, time: 50ms}, {cpu: 5ms}]}
""",
        ["pool db", "event loop", "nothing"],
    ),
    (
        "closed users: a loop; more workers bring more pools",
        """\
load: {users: 50, think: 100ms, for: 6s}
pools: {db: {size: 4}}
routes:
  a: {handler: async def, steps: [{query: db, time: 10ms}, {cpu: 5ms}]}
""",
        ["event loop", "nothing"],
    ),
    (
        "closed users that think much: nothing",
        """\
load: {users: 10, think: 1s, for: 6s}
pools: {db: {size: 4}}
routes:
  a: {handler: async def, steps: [{query: db, time: 10ms}]}
""",
        ["nothing"],
    ),
    (
        "streams in def: threads",
        """\
server: {preset: fastapi, threads: 10}
load: {users: 60, think: 500ms, for: 10s}
routes:
  a: {handler: def, steps: [{stream: {chunks: 20, every: 20ms}}]}
""",
        ["threads", "nothing"],
    ),
    (
        "streams on the loop with cpu",
        """\
load: {users: 60, think: 100ms, for: 10s}
routes:
  a: {handler: async def, steps: [{stream: {chunks: 20, every: 10ms, cpu: 2ms}}]}
""",
        ["event loop", "nothing"],
    ),
    (
        "gthread: threads, then pool",
        """\
server: {preset: django, workers: 2, threads: 2}
pools: {db: {size: 3, driver: blocking}}
load: {requests: 100, at: once}
routes:
  a: {handler: def, steps: [{query: db, time: 100ms}]}
""",
        ["threads", "pool db", "nothing"],
    ),
    (
        "gthread: the gil",
        """\
server: {preset: django, workers: 2, threads: 8, cores: 8}
load: {rate: 90/s, arrivals: poisson, for: 6s}
routes:
  a: {handler: def, steps: [{cpu: 20ms}, {block: 5ms}]}
""",
        ["gil", "nothing"],
    ),
    (
        "gthread: cores",
        """\
server: {preset: django, workers: 4, threads: 8, cores: 2}
load: {rate: 98/s, arrivals: poisson, for: 6s}
routes:
  a: {handler: def, steps: [{cpu: 20ms}]}
""",
        ["cores", "nothing"],
    ),
    (
        "def: gil before threads",
        """\
load: {requests: 200, at: once}
routes:
  a: {handler: def, steps: [{cpu: 20ms}]}
""",
        ["gil"],
    ),
    (
        "a thread held while waiting for a pool",
        """\
load: {requests: 200, at: once}
server: {preset: fastapi, threads: 20}
pools: {db: {size: 5, driver: blocking}}
routes:
  a: {handler: def, steps: [{query: db, time: 1s}]}
""",
        ["pool db", "threads", "nothing"],
    ),
    (
        "blocking driver",
        """\
load: {requests: 200, at: once}
pools: {db: {size: 5, driver: blocking}}
routes:
  a: {handler: async def, steps: [{query: db, time: 50ms}]}
""",
        ["event loop"],
    ),
    (
        "slow route starves quick one",
        """\
pools: {db: {size: 4}}
load: {rate: 50/s, arrivals: poisson, for: 6s}
routes:
  q: {handler: async def, steps: [{query: db, time: 10ms}], weight: 90}
  s: {handler: async def, steps: [{query: db, time: 900ms}], weight: 10}
""",
        ["pool db", "nothing"],
    ),
    (
        "pool timeout",
        """\
load: {requests: 200, at: once}
pools: {db: {size: 2, acquire_timeout: 1s}}
routes:
  a: {handler: async def, steps: [{query: db, time: 100ms}]}
""",
        ["pool db", "nothing"],
    ),
    (
        "deadlock of a pool taken twice",
        """\
load: {requests: 20, at: once}
pools: {db: {size: 5}}
routes:
  a: {handler: async def, steps: [{with: db, do: [{with: db, do: [{query: db, time: 10ms}]}]}]}
""",
        ["pool db", "nothing"],
    ),
    (
        "to_thread: threads",
        """\
load: {requests: 200, at: once}
server: {preset: fastapi, threads: 4}
pools: {db: {size: 9}}
routes:
  a: {handler: async def, steps: [{to_thread: [{block: 100ms}]}, {query: db, time: 100ms}]}
""",
        ["threads", "pool db", "nothing"],
    ),
    (
        "workers x pool: 3 workers",
        """\
load: {requests: 200, at: once}
server: {preset: fastapi, workers: 3}
pools: {db: {size: 4}}
services: {x: {time: 100ms, concurrency: 15}}
routes:
  a: {handler: async def, steps: [{query: db, time: 100ms}, {call: x}]}
""",
        ["pool db", "service x", "nothing"],
    ),
    (
        "continuous device",
        """\
load: {rate: 9/s, for: 20s}
accelerators: {llm: {continuous: {max_running: 4}, step: {base: 10ms, per_item: 0s}}}
routes:
  a: {handler: async def, steps: [{generate: llm, tokens: 50}]}
""",
        ["accelerator llm", "nothing"],
    ),
    (
        "instances: each has threads",
        """\
server: {preset: fastapi, instances: 2, threads: 3}
load: {requests: 200, at: once}
services: {x: {time: 100ms, concurrency: 8}}
routes:
  a: {handler: def, steps: [{call: x, blocking: true}]}
""",
        ["threads", "service x", "nothing"],
    ),
    (
        "a row lock, then its pool",
        """\
load: {requests: 20, at: once}
pools: {db: {size: 10}}
locks: {row: {}}
routes:
  a: {handler: async def, steps: [{with: db, do: [{lock: row}, {query: db, time: 10ms}]}]}
""",
        ["lock row", "pool db", "nothing"],
    ),
]


@pytest.mark.parametrize(("text", "names"), [c[1:] for c in HARDER], ids=[c[0] for c in HARDER])
def test_what_limits_and_what_limits_next(text: str, names: list[str]) -> None:
    found = explain("<text>", text)
    assert [link.resource for link in found.chain] == names


def test_more_of_what_is_deadlocked_is_judged_by_who_is_answered() -> None:
    text = next(case[1] for case in HARDER if case[0].startswith("deadlock"))
    found = explain("<text>", text)
    # Each holds a connection while it waits for a second: few pass, with 60 all do.
    assert found.chain[0].measured.total.ok < found.chain[1].measured.total.ok == 20


def test_the_users_thinking_is_not_ours_to_change() -> None:
    text = next(case[1] for case in HARDER if case[0].startswith("closed users: pool"))
    changes = [change.what for change in explain("<text>", text).changes]
    assert "routes.a.steps[0].time: a tenth less" in changes
    assert not [what for what in changes if "think" in what]

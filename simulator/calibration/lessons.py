"""The small app as a running server, and the routes that a server says it has."""

from __future__ import annotations

import ipaddress
import json
import socket
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from simulator.calibration.generator import NotAllowed, Unreachable
from simulator.calibration.served.children import start

START_S = 20.0
APP = "simulator.calibration.app:app"


@contextmanager
def serving_app(app: str = APP, *, folder: Path | None = None) -> Iterator[str]:
    """The URL of an app that uvicorn serves while the block lasts.

    Raises
    ------
    Unreachable
        It didn't start; with the last line that it said.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as logs:
        log = Path(logs) / "uvicorn.log"
        command = [sys.executable, "-m", "uvicorn", app, "--port", str(port)]
        command += ["--log-level", "warning", "--no-access-log"]
        command += ["--app-dir", str(folder)] if folder else []
        process = start(command, log=log)
        try:
            _wait(port, process.poll, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


def _wait(port: int, ended: object, log: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        if callable(ended) and ended() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    raise Unreachable(f"the app did not start within {START_S:g} s: {said[-1] if said else ''}")


def listed_routes(url: str, *, allow_remote: bool) -> tuple[list[str], list[str]]:
    """Routes of ``/openapi.json`` that can be asked as they are, and those that can't.

    Only GET without required parameters is asked: other methods may change something.

    Raises
    ------
    NotAllowed, Unreachable
    """
    parts = urlsplit(url)
    if not allow_remote and not _is_loopback(parts.hostname or ""):
        raise NotAllowed(
            f"{url} is not on this machine, nothing was sent; --allow-remote if its owner agrees"
        )
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/openapi.json", timeout=10) as answer:
            document = json.load(answer)
    except (OSError, ValueError) as error:
        raise Unreachable(
            f"{url}/openapi.json can't be read ({error}); name the routes: --routes 'GET /a'"
        ) from None
    found: list[str] = []
    skipped: list[str] = []
    for path, methods in document.get("paths", {}).items():
        for method, route in methods.items():
            needs = any(parameter.get("required") for parameter in route.get("parameters", []))
            label = f"{method.upper()} {path}"
            (skipped if method != "get" or needs or "{" in path else found).append(label)
    return found, skipped


def _is_loopback(host: str) -> bool:
    try:
        address = socket.getaddrinfo(host, None)[0][4][0]
        return ipaddress.ip_address(str(address).partition("%")[0]).is_loopback
    except (OSError, ValueError):
        return False

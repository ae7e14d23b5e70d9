"""What ``sim serve`` does: a scenario as a real service until Ctrl-C."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any

from simulator.commands import console, progress, running

if TYPE_CHECKING:
    from simulator.calibration.served import Running
    from simulator.scenario import Scenario

_LOOK_S = 0.2


def served(arguments: list[str], **options: Any) -> int:
    """Serve the one scenario among these words."""
    files, overrides = console.files_and_overrides(arguments)
    if len(files) > 1:
        console.usage(f"serve runs one scenario at a time, {len(files)} given")
    return serve(running.loaded(files[0], overrides), **options)


def serve(
    scenario: Scenario,
    *,
    seed: int | None,
    port: int,
    database: str,
    deadline_s: float,
    allow_remote: bool,
) -> int:
    """Serve until Ctrl-C or SIGTERM; gives back the exit code."""
    try:
        from simulator.calibration.served import NotServable, ServeError
        from simulator.calibration.served import serve as start
    except ModuleNotFoundError as error:
        return _missing(error)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with start(
            scenario,
            seed=seed,
            port=port,
            database=database,
            deadline_s=deadline_s,
            allow_remote=allow_remote,
            progress=progress.words,
        ) as service:
            console.show(_page(scenario, service))
            console.tell("Ctrl-C ends it")
            while not (failure := service.failure()):
                time.sleep(_LOOK_S)
            console.tell(f"{scenario.path}: error: {failure}")
            return console.ENVIRONMENT
    except KeyboardInterrupt:
        return console.OK  # that is how it ends
    except NotServable as error:
        for reason in error.reasons:
            console.tell(f"{scenario.path}: error: can't be served: {reason}")
        return console.INVALID
    except ServeError as error:
        console.tell(f"{scenario.path}: error: {error}")
        return console.ENVIRONMENT
    except ModuleNotFoundError as error:
        return _missing(error)


def _interrupt(*_: object) -> None:
    # Not by a SIGINT: a shell's background command ignores those, and would never end.
    raise KeyboardInterrupt


def _missing(error: ModuleNotFoundError) -> int:
    console.tell(
        f"error: {error.name} is not installed: pip install 'concurrency-simulator[calibrate]'"
    )
    return console.ENVIRONMENT


def _page(scenario: Scenario, running: Running) -> str:
    """Where it listens, what it is, and how to ask each route."""
    from simulator.calibration.served.written import address

    names = (
        ("gunicorn",) if scenario.document["server"]["kind"] != "asgi" else ("uvicorn", "fastapi")
    )
    parts = [f"{name} {running.versions[name]}" for name in names]
    if running.database != "none":
        parts.append(running.database)
    lines = [f"{scenario.name} on {running.url}   {', '.join(parts)}"]
    for route in scenario.plan.routes:
        method, path = address(route)
        how = "" if method == "GET" else f"-X {method} "
        lines.append(f"  curl {how}{running.url}{path}")
    return "\n".join(lines) + "\n"

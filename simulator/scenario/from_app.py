"""A scenario begun from a real FastAPI app: its routes, `def` or `async def`, their hops.

What can be read off an app is how it is built, not how long it takes: times are stand-ins,
each with a comment. Read of FastAPI 0.115 and later: a `def` route runs in one thread hop,
every sync dependency in one more, and what it finds after its `yield` in another limiter.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from simulator.record import dataclass


class AppError(ValueError):
    """The app can't be read; the message says why, and what was expected."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A route of the app."""

    name: str  # of its function
    path: str  # "GET /user"
    on_loop: bool  # async def
    socket: bool  # a WebSocket
    validated: bool  # its response has a model
    dependencies: tuple[tuple[str, bool], ...]  # in their order; True: async, on the loop


def from_app(target: str) -> str:
    """The scenario of ``module:app`` as commented YAML; the module is imported, so it runs.

    Raises
    ------
    AppError
        If it can't be imported, is no FastAPI app, or has no routes.
    """
    app = _imported(target)
    found = list(endpoints(app))
    if not found:
        raise AppError(f"{target} has no routes of its own, expected some")
    return "\n".join([*_head(target, getattr(app, "title", "")), *_routes(found)]) + "\n"


def _imported(target: str) -> Any:
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute:
        raise AppError(f"'{target}' is not MODULE:APP, expected such as main:app")
    sys.path.insert(0, os.getcwd())
    try:
        with _no_results():
            module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        if missing == module_name.partition(".")[0]:
            raise AppError(
                f"no module called '{missing}' from here, expected one of this folder"
            ) from error
        raise AppError(f"{module_name} needs '{missing}', which is not installed here") from error
    except SystemExit as error:
        raise AppError(
            f"importing {module_name} ends the program (exit {error.code}), "
            "expected that below: if __name__ == '__main__':"
        ) from error
    except Exception as error:
        raise AppError(
            f"importing {module_name} failed: {type(error).__name__}: {error}"
        ) from error
    app = module
    for part in attribute.split("."):
        if not hasattr(app, part):
            raise AppError(
                f"{module_name} has no '{part}', expected the app, such as {module_name}:app"
            )
        app = getattr(app, part)
    if not hasattr(app, "routes") or not hasattr(app, "openapi"):
        raise AppError(f"{target} is a {type(app).__name__}, expected a FastAPI app")
    return app


@contextmanager
def _no_results() -> Iterator[None]:
    """What an app prints while it is imported goes to stderr: stdout is the scenario's."""
    sys.stdout.flush()
    with redirect_stdout(sys.stderr):
        yield


def endpoints(app: Any, prefix: str = "") -> Iterator[Endpoint]:
    """The routes of an app, in their order, and of apps mounted on it; not its documentation."""
    for route in _every(app.routes):
        mounted = getattr(getattr(route, "original_route", route), "app", None)
        if hasattr(mounted, "openapi"):
            yield from endpoints(mounted, prefix + route.path)
            continue
        dependant = getattr(route, "dependant", None)
        if dependant is None:
            continue  # /docs, static files
        methods = sorted(getattr(route, "methods", None) or ())
        yield Endpoint(
            name=_plain(route.name),
            path=f"{methods[0] if methods else 'GET'} {prefix}{route.path}",
            on_loop=_is_async(route.endpoint),
            socket=not methods,
            validated=bool(methods and getattr(route, "response_field", None)),
            dependencies=tuple((_name(c), _is_async(c)) for c in _dependencies(dependant)),
        )


def _plain(name: str) -> str:
    """A name that the language takes: a function may be called naïve, a route naive."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return plain if plain.isidentifier() else "route"


def _every(routes: Any) -> Any:
    """All routes, those of included routers too, which newer versions of FastAPI keep apart."""
    try:
        from fastapi.routing import iter_route_contexts
    except ImportError:
        return routes
    return iter_route_contexts(routes)


def _dependencies(dependant: Any) -> Iterator[Callable[..., Any]]:
    """The dependencies of a route, each once, as FastAPI solves them: the inner ones first."""
    seen: set[int] = set()

    def inner(part: Any) -> Iterator[Callable[..., Any]]:
        for child in part.dependencies:
            yield from inner(child)
            if child.call is not None and id(child.call) not in seen:
                seen.add(id(child.call))
                yield child.call

    return inner(dependant)


def _is_async(call: Callable[..., Any]) -> bool:
    """Whether it runs on the loop; classes and callables are judged by what is called."""
    if not inspect.isroutine(call) and not inspect.isclass(call):
        call = getattr(call, "__call__", call)  # noqa: B004
    call = inspect.unwrap(call)
    return inspect.iscoroutinefunction(call) or inspect.isasyncgenfunction(call)


def _name(call: Callable[..., Any]) -> str:
    return str(getattr(call, "__name__", type(call).__name__))


def _head(target: str, title: str) -> list[str]:
    name = "".join(c if c.isalnum() or c in "-_" else "-" for c in title or target).strip("-")
    return [
        f"# Read off {target}: its routes, and what holds a thread. The times are stand-ins:",
        "# put in what yours take, and what each step is (query, call, cpu, await, block).",
        f"name: {name or 'app'}",
        "load: {rate: 50/s, arrivals: poisson, for: 30s}",
        "server: {preset: fastapi, workers: 1}        # uvicorn --workers 1, 40 threads for `def`",
        "routes:",
    ]


def _routes(found: list[Endpoint]) -> Iterator[str]:
    taken: set[str] = set()
    for endpoint in found:
        name, number = endpoint.name, 2
        while name in taken:
            name, number = f"{endpoint.name}_{number}", number + 1
        taken.add(name)
        yield f"  {name}:"
        yield f"    path: {_quoted(endpoint.path)}"
        yield f"    handler: {'async def' if endpoint.on_loop else 'def'}"
        yield "    steps:"
        yield from _steps(endpoint)


def _steps(endpoint: Endpoint) -> Iterator[str]:
    for name, on_loop in endpoint.dependencies:
        if on_loop:
            yield f"      - {{cpu: 50us}}                   # dependency {name}, on the loop"
        elif endpoint.on_loop:
            yield f"      - {{to_thread: [{{cpu: 50us}}]}}    # dependency {name}: sync, a hop"
        else:
            yield f"      - {{cpu: 50us}}                   # dependency {name}: sync, one hop more"
    if endpoint.socket:
        yield "      - {stream: {chunks: 10, every: 1s}}    # a WebSocket that sends"
    elif endpoint.on_loop:
        yield "      - {await: 10ms}                 # what it awaits"
    else:
        yield "      - {block: 10ms}                 # what its thread waits for"
    yield "      - {cpu: 500us}                  # what it computes"
    if endpoint.validated and not endpoint.on_loop:
        yield "      - {cpu: 50us}                   # its response is validated: one hop more"


def _quoted(text: str) -> str:
    import json

    return json.dumps(text, ensure_ascii=False)

"""What ``sim calibrate`` does: observe, fit, check; each can be done alone, from files."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.commands import console, progress, running

if TYPE_CHECKING:
    from simulator.calibration.generator import Budget
    from simulator.calibration.probe import Answers, Ask, Probe
    from simulator.scenario import Scenario

REFERENCE = "GET /-/nothing-here"
"""A path that no server has: its 404 costs what a request costs by itself."""
STEPS = ("observe", "fit", "check")
OBSERVED, OVERHEADS, FOUND, RESULT, PICTURE = (
    "observed.jsonl", "overheads.yaml", "found.yaml", "calibration.json", "calibration.svg",
)  # fmt: skip
LESSONS = (
    "GET /sleep/async", "GET /sleep/def", "GET /sleep/blocking", "GET /cpu/async",
    "GET /cpu/def", "GET /pool", "GET /limited",
)  # fmt: skip
"""Routes of the small app that are identified when no scenario is given."""


class Asked:
    """The options of the command, checked as far as that goes without a server."""

    def __init__(
        self,
        arguments: list[str],
        *,
        serve: bool,
        url: str | None,
        routes: list[str],
        out: Path | None,
        only: str | None,
        runs: int,
        scale: str,
        database: str,
        budget: str | None,
        allow_remote: bool,
    ) -> None:
        from simulator.calibration.generator import Budget

        if serve == (url is not None) and not (only == "fit" and url is None):
            console.usage("expected --serve or --url URL, one of the two")
        if only is not None and only not in STEPS:
            console.usage(f"--only {only}: expected one of: {', '.join(STEPS)}")
        if only is not None and out is None:
            console.usage("--only needs -o DIR: the steps read one another's files there")
        self.files, self.overrides = (
            console.files_and_overrides(arguments) if arguments else ([], [])
        )
        if len(self.files) > 1:
            console.usage(f"{len(self.files)} files, expected one: sim calibrate FILE")
        self.url, self.routes, self.out, self.only = url, routes, out, only
        self.runs, self.scale, self.database, self.remote = runs, scale, database, allow_remote
        try:
            # More than usual: these are many small probes, and users who ask at once again.
            usual = "requests<=200k,rate<=5000/s,time<=2m"
            self.budget: Budget = Budget.parse(budget or usual)
        except ValueError as error:
            console.usage(f"--budget {error}")

    def does(self, step: str) -> bool:
        """Whether this step is asked for."""
        return self.only in (None, step)

    def path(self, name: str) -> Path | None:
        """Where a result goes, or None."""
        return self.out and self.out / name


def calibrated(asked: Asked, *, as_json: bool) -> int:
    """Do what was asked; gives back the exit code."""
    from simulator.calibration.check import NotMeasured
    from simulator.calibration.generator import GeneratorError
    from simulator.calibration.observe import Stopped
    from simulator.calibration.served import NotServable, ServeError

    try:
        if asked.out is not None:
            asked.out.mkdir(parents=True, exist_ok=True)
        if asked.files and asked.url is None:
            return _machine(asked, running.loaded(asked.files[0], asked.overrides), as_json)
        return _server(asked, as_json)
    except (Stopped, GeneratorError, ServeError, NotServable, NotMeasured, ValueError) as error:
        console.tell(f"error: {error}{_kept(asked)}")
        return console.ENVIRONMENT
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        console.tell(f"error: {where}{error.strerror or error}{_kept(asked)}")
        return console.ENVIRONMENT
    except KeyboardInterrupt:
        console.tell(f"interrupted{_kept(asked)}")
        return console.INTERRUPTED


def _kept(asked: Asked) -> str:
    path = asked.path(OBSERVED)
    if path is None or not path.exists() or not asked.does("observe"):
        return ""
    return f"\nkept, partial: {path}, {max(len(path.read_text().splitlines()) - 1, 0)} probes"


@contextmanager
def _asking(
    asked: Asked, about: dict[str, Any], url: str | None, pids: Collection[int] = ()
) -> Iterator[Ask]:
    """Who answers: the server, whose answers are recorded; or the record, where only that is."""
    from simulator.calibration.observe import LiveServer, Record, replayed

    path = asked.path(OBSERVED)
    if not asked.does("observe"):
        assert path is not None
        yield replayed(path)[1]
        return
    assert url is not None
    server = LiveServer(url, REFERENCE, asked.budget, asked.remote, pids)
    if path is None:
        yield server
        return
    record = Record(path, about | _machine_facts())
    try:
        yield record.recording(server)
    finally:
        record.close()


def _counted(ask: Ask, of: int) -> Ask:
    """The same, and it is said after each probe how many there were."""
    said, done = progress.runs("probes"), 0

    def counted(probe: Probe) -> Answers:
        nonlocal done
        answers = ask(probe)
        done += 1
        said(done, of)
        return answers

    return counted


def _machine_facts() -> dict[str, Any]:
    return {"python": platform.python_version(), "cores": os.cpu_count() or 1}


# A scenario that is served: the overheads of this machine, and the scenario under them.


def _machine(asked: Asked, scenario: Scenario, as_json: bool) -> int:
    from simulator.calibration import calibration_page as page
    from simulator.calibration.fit import Fit, fit
    from simulator.calibration.machinery import machinery
    from simulator.calibration.served import refusals, serve

    machine = machinery(scenario)
    if any("fresh" in reason for reason in refusals(machine.scenario, database=asked.database)):
        machine = machinery(scenario, connects=False)
    found: Fit | None = None
    versions: dict[str, str] = {}
    about = {"of": "overheads", "scenario": scenario.path}
    if asked.does("observe"):
        with serve(machine.scenario, database=asked.database, progress=progress.words) as service:
            progress.words("probing")
            versions = dict(service.versions)
            pids = {pid for who in ("server", "workers") for pid in service.processes.get(who, ())}
            with _asking(asked, about | {"versions": versions}, service.url, pids) as ask:
                found = fit(machine, _counted(ask, len(machine.probes)))
    elif asked.does("fit"):
        versions = _head(asked).get("versions", {})
        with _asking(asked, about, None) as ask:
            found = fit(machine, ask)
    if asked.only == "observe":
        console.tell(f"written: {asked.path(OBSERVED)}")
        return console.OK
    path = asked.path(OVERHEADS)
    if found is not None:
        text = page.overheads_yaml(found, _told(versions))
        if path is not None:
            path.write_text(text, encoding="utf-8")
            console.tell(f"written: {path}")
        if not as_json:
            console.show("\n".join(page.overheads_table(found)) + "\n")
    if not asked.does("check"):
        return console.OK
    return _check_scenario(asked, found, path, as_json)


def _head(asked: Asked) -> dict[str, Any]:
    """What a record says it is of."""
    from simulator.calibration.observe import replayed

    path = asked.path(OBSERVED)
    assert path is not None
    return replayed(path)[0]


def _told(versions: dict[str, str]) -> list[str]:
    from simulator.version import VERSION

    facts = ", ".join(f"{name} {version}" for name, version in versions.items())
    return [f"sim calibrate {VERSION}, on {os.cpu_count()} cores", *([facts] if facts else [])]


def _check_scenario(asked: Asked, found: Any, path: Path | None, as_json: bool) -> int:
    """The scenario's own load and half of it, none of which was used for the fit."""
    import tempfile

    from simulator.calibration import calibration_page as page
    from simulator.calibration.agreement import agreement
    from simulator.calibration.check import Options, prepared
    from simulator.calibration.measuring import observed_splits
    from simulator.calibration.served import serve
    from simulator.calibration.splits import sentence

    with tempfile.TemporaryDirectory() as folder:
        if path is None:
            path = Path(folder) / OVERHEADS
            path.write_text(page.overheads_yaml(found, []), encoding="utf-8")
        options = Options(
            overheads=str(path), scale=Fraction(asked.scale), database=asked.database,
            budget=asked.budget,
        )  # fmt: skip
        loads = {
            name: prepared(asked.files[0], [*asked.overrides, *more], options)
            for name, more in _loads(asked).items()
        }
    first = next(iter(loads.values()))
    with serve(first, database=asked.database, progress=progress.words) as service:
        splits = observed_splits(first.plan, service.url, progress.words)
        if splits and not as_json:
            console.show(f"  accept             {sentence(splits)}\n")
        seen = agreement(
            {name: scenario.plan for name, scenario in loads.items()}, service.url, served=True,
            splits=splits, runs=asked.runs, budget=asked.budget, say=progress.words,
        )  # fmt: skip
        failure = service.failure()
    passed, words = page.verdict(None, seen)
    if failure:
        passed, words = False, f"partial: {failure}"
    return _finish(asked, seen.rows, seen.curves, passed, words, as_json)


def _loads(asked: Asked) -> dict[str, list[str]]:
    scenario = running.loaded(asked.files[0], asked.overrides)
    loads = scenario.document.get("load", [])
    if len(loads) != 1:
        return {"as written": []}
    key = next((k for k in ("requests", "rate", "users") if k in loads[0]), None)
    if key == "rate":
        from simulator.units import parse_rate

        half = f"{float(parse_rate(loads[0]['rate'])) / 2:.4g}/s"
    elif key is None or loads[0][key] < 4:
        return {"as written": []}
    else:
        half = str(loads[0][key] // 2)
    where = scenario.key(f"load[0].{key}") or f"load.{key}"
    return {"as written": [], f"{key} {half}": [f"{where}={half}"]}


# A server that is known by its URL.


def _server(asked: Asked, as_json: bool) -> int:
    from simulator.calibration.lessons import serving_app

    if asked.url is not None or (not asked.does("observe") and not asked.does("check")):
        return _at(asked, asked.url or "", as_json)
    with serving_app() as url:
        asked.routes = asked.routes or list(LESSONS)
        return _at(asked, url, as_json)


def _at(asked: Asked, url: str, as_json: bool) -> int:
    from simulator.calibration import calibration_page as page
    from simulator.calibration import found as writing
    from simulator.calibration.agreement import agreement
    from simulator.calibration.identify import identify
    from simulator.scenario import loads

    labels = _labels(asked, url)
    about = {"of": "server", "url": url, "routes": labels}
    with _asking(asked, about, url) as ask:
        found = identify(
            ask,
            labels,
            REFERENCE,
            local=not asked.remote,
            cores=os.cpu_count() or 1,
            say=progress.words,
        )
    if asked.only == "observe":
        console.tell(f"written: {asked.path(OBSERVED)}")
        return console.OK
    text = writing.text(found, url)
    path = asked.path(FOUND)
    if path is not None:
        path.write_text(text, encoding="utf-8")
        console.tell(f"written: {path}")
    if not as_json:
        console.show("\n".join(page.found_table(found)) + "\n")
        for problem in found.problems:
            console.tell(problem)
    if not asked.does("check"):
        return console.OK
    if not writing.document(found)["routes"]:
        console.tell("error: no route gave a good answer")
        return console.ENVIRONMENT
    plans = {
        name: loads(text, _scaled_loads(found, share)).plan
        for name, share in (("60 % of what it bears", 1.0), ("30 %", 0.5))
    }
    seen = agreement(
        plans,
        url,
        runs=asked.runs,
        budget=asked.budget,
        allow_remote=asked.remote,
        say=progress.words,
    )
    passed, words = page.verdict(found, seen)
    return _finish(asked, seen.rows, seen.curves, passed, words, as_json)


def _scaled_loads(found: Any, share: float) -> list[str]:
    """Overrides that make the load of each route so much of what it is."""
    from simulator.calibration.found import document

    routes = document(found)["routes"]
    rates = {
        name: float(route["load"]["rate"].removesuffix("/s")) for name, route in routes.items()
    }
    return [f"routes.{name}.load.rate={rate * share:.3g}/s" for name, rate in rates.items()]


def _labels(asked: Asked, url: str) -> list[str]:
    """The routes to look at: as given, of the scenario, of the record, of /openapi.json."""
    from simulator.calibration.lessons import listed_routes

    if asked.routes:
        return asked.routes
    if asked.files:
        document = running.loaded(asked.files[0], asked.overrides).document
        return [route.get("path", f"GET /{name}") for name, route in document["routes"].items()]
    if not asked.does("observe"):
        return list(_head(asked).get("routes", []))
    found, skipped = listed_routes(url, allow_remote=asked.remote)
    if skipped:
        console.tell(f"not looked at, they need something: {', '.join(skipped)}")
    if not found:
        console.usage(f"{url}/openapi.json names no route that can be asked, give --routes")
    return found


def _finish(asked: Asked, rows: Any, curves: Any, passed: bool, words: str, as_json: bool) -> int:
    from simulator.calibration import calibration_page as page
    from simulator.report import machine

    document = {"passed": passed, "verdict": words, "rows": page.rows_as_dict(rows)}
    if as_json:
        console.show(machine.dumps(document).decode())
    else:
        console.show("\n".join(["", *page.agreement_table(rows), "", f"  {words}"]) + "\n")
    if asked.out is not None:
        from simulator.report import overlay

        (asked.out / RESULT).write_bytes(machine.dumps(document))
        overlay.write(asked.out / PICTURE, curves, passed)
        console.tell(f"written: {asked.out / RESULT}\nwritten: {asked.out / PICTURE}")
    return console.OK if passed else console.FAILED


Say = Callable[[str], None]

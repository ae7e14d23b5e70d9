"""A scenario: the machine document, its plan, and where each part was written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.plan import Plan
from simulator.record import dataclass
from simulator.scenario.check import check
from simulator.scenario.composing import check_sweep, compose
from simulator.scenario.kinds import BAD
from simulator.scenario.language import SCENARIO
from simulator.scenario.lower import lower
from simulator.scenario.node import Mapping, Node, find, parts, place, spelled
from simulator.scenario.presets import SERVERS
from simulator.scenario.problem import Mark, Problems
from simulator.scenario.report import Report
from simulator.scenario.resolve import Document, resolve
from simulator.scenario.source import read_text

if TYPE_CHECKING:
    from simulator.thresholds import Threshold


@dataclass(frozen=True, slots=True)
class Scenario:
    """A valid scenario. ``document`` is the resolved one: no default is left open in it."""

    name: str
    description: str
    seed: int
    path: str
    document: Document
    plan: Plan
    thresholds: tuple[Threshold, ...]
    sweep: Document  # key -> values; what `sim sweep` varies, no part of a run
    root: Node = field(repr=False, compare=False)
    text: str = field(repr=False, compare=False)  # as it was written, before any override

    def place(self, path: str) -> str:
        """``file:line:col`` of a dotted path such as ``routes.a.steps[0]``.

        A part that was not written, such as a default, is where the innermost part
        that encloses it was written.
        """
        return str(place(find(self.root, parts(path))))

    def key(self, path: str) -> str | None:
        """What to override so that a dotted path changes: ``vars.pool`` for ``'${pool}'``."""
        return spelled(self.root, path)

    def is_written(self, path: str) -> bool:
        """Whether a dotted path of the resolved document stands in the text itself."""
        *owner, last = parts(path)
        node = find(self.root, owner)
        return isinstance(node, Mapping) and last in node.entries

    @property
    def server_preset(self) -> str | None:
        """The server's preset; None where it says another kind, or a kind and no preset."""
        server = self.document["server"]
        asked = self.is_written("server.preset") or not self.is_written("server.kind")
        same = SERVERS[server["preset"]].kind == server["kind"]
        return str(server["preset"]) if asked and same else None

    @property
    def load_paths(self) -> tuple[str, ...]:
        """The dotted paths of ``plan.loads``, in their order."""
        routes = self.document["routes"].items()
        owners = [("load", self.document), *((f"routes.{k}.load", v) for k, v in routes)]
        return tuple(
            f"{path}[{i}]" for path, owner in owners for i in range(len(owner.get("load", [])))
        )


def load(path: str | Path, overrides: Sequence[str] = ()) -> Scenario:
    """The scenario of a YAML file, with ``KEY=VALUE`` overrides applied.

    Raises
    ------
    ScenarioError
        With all problems that were found.
    """
    problems = Problems()
    text = read_text(Path(path), str(path), problems)
    if text is None:
        problems = _with_example(Path(path), problems)
    problems.raise_if_any()
    assert text is not None
    return loads(text, overrides, path=str(path))


def loads(text: str, overrides: Sequence[str] = (), *, path: str = "<text>") -> Scenario:
    """The scenario of a YAML text.

    Parameters
    ----------
    path : str
        Shown in messages; files that the text names are relative to its folder, and
        its stem is the default of the scenario's name.

    Raises
    ------
    ScenarioError
        With all problems that were found.
    """
    problems = Problems()
    root = compose(text, path, overrides, problems)
    document = SCENARIO.read(_without_vars(root), "", problems)
    if document is not BAD:
        report = Report(root, problems)
        sweep = document["sweep"]
        check_sweep(root, problems)
        name = "scenario" if path == "<text>" else Path(path).stem
        document = resolve(document, report, name=name, folder=Path(path).parent)
        check(document, report)
    problems.raise_if_any()
    return Scenario(
        name=document["name"],
        description=document["description"],
        seed=document["seed"],
        path=path,
        document=document,
        plan=lower(document),
        thresholds=_thresholds(document),
        sweep=sweep,
        root=root,
        text=text,
    )


def _with_example(path: Path, problems: Problems) -> Problems:
    """The problem of a file that isn't there, with a hint where an example has its name."""
    from simulator.scenario.examples import examples

    if os.path.exists(path) or path.stem not in {name for name, _, _ in examples()}:
        return problems
    hinted, hint = Problems(), f"sim examples {path.stem} > {path.stem}.yaml writes the example"
    hinted.add(Mark(str(path)), problems.only().message, hint)
    return hinted


def _without_vars(root: Node) -> Node:
    if not isinstance(root, Mapping):
        return root
    vars = root.entries.get("vars")
    if not isinstance(vars, Mapping):
        return root
    # Their values were put in place already, and mean nothing where they stand.
    entries = {**root.entries, "vars": Mapping(vars.mark, {}, vars.key)}
    return Mapping(root.mark, entries, root.key)


def _thresholds(document: Document) -> tuple[Threshold, ...]:
    if not document["thresholds"]:
        return ()
    from simulator.thresholds import parse

    routes = tuple(document["routes"])
    return tuple(
        parse(metric, expression, routes)
        for metric, expressions in document["thresholds"].items()
        for expression in expressions
    )

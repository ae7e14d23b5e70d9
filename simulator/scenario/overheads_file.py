"""`server.overheads: mine.yaml`: the overheads that `sim calibrate` has measured and written."""

from __future__ import annotations

from pathlib import Path

from simulator.scenario.kinds import Duration
from simulator.scenario.node import Bad, Mapping, Node, Scalar
from simulator.scenario.presets import OVERHEADS
from simulator.scenario.problem import Problems
from simulator.scenario.source import parse, read_text
from simulator.units import parse_duration

SUFFIXES = (".yaml", ".yml")
PATTERN = r"\.ya?ml$"
"""What tells the name of a file from the words `none` and `typical`."""
FROM = "from"
"""The key of `server.overheads` that names the others' values: typical, or a file."""
GIL_WAKE = "gil_wake"
"""A key of such a file alone: it stands for `server.gil: {wake: …}` where that is not given."""

ROUND_TRIP = "round_trip"
"""Another one: what a request takes beyond its server's part, as a client on the same machine
sees it. A server's prediction has no use for it; ``sim check``, which is that client, has."""


def round_trip_ns(file: Path) -> int:
    """The round trip that a file of overheads tells, 0 if it tells none."""
    text = read_text(file, str(file), Problems())
    node = None if text is None else parse(text, str(file), Problems())
    told = node.entries.get(ROUND_TRIP) if isinstance(node, Mapping) else None
    return parse_duration(told.text) if isinstance(told, Scalar) else 0


def with_overheads(root: Node, path: Path, problems: Problems) -> Node:
    """The tree with what `server.overheads` names in its place: a file, or what `from` says.

    A file's name is relative to the scenario; in an override, to where the command is given.
    What is wrong in that file is reported at its own lines.
    """
    server = root.entries.get("server") if isinstance(root, Mapping) else None
    given = server.entries.get("overheads") if isinstance(server, Mapping) else None
    if not isinstance(root, Mapping) or not isinstance(server, Mapping) or given is None:
        return root
    found = _spelt_out(given, path, problems)
    entries: dict[str, Node] = {**server.entries, "overheads": found}
    wake: Node | None = None
    if found is not given and isinstance(found, Mapping):
        wake = found.entries.pop(GIL_WAKE, None)
        trip = found.entries.pop(ROUND_TRIP, None)
        if trip is not None:
            Duration().read(trip, ROUND_TRIP, problems)
    if wake is not None and _has_loop(server):
        entries["gil"] = _waking(entries.get("gil"), wake)
    placed = Mapping(server.mark, entries)
    placed.key = server.key
    return Mapping(root.mark, {**root.entries, "server": placed}, root.key)


def _spelt_out(given: Node, path: Path, problems: Problems) -> Node:
    """The content of a file in place of its name; what ``from`` stands for, in its place."""
    if isinstance(given, Scalar) and str(given.value).endswith(SUFFIXES):
        overridden = given.mark.source.startswith("override ")
        file = Path(str(given.value)) if overridden else path.parent / str(given.value)
        return _read(file, given, problems)
    word = given.entries.get(FROM) if isinstance(given, Mapping) else None
    if not isinstance(given, Mapping) or not isinstance(word, Scalar):
        return given
    own = {key: node for key, node in given.entries.items() if key != FROM}
    if word.value == "none":
        return Mapping(given.mark, own, given.key)
    if word.value == "typical":
        typical = {k: Scalar(word.mark, v, v, word.mark) for k, (v, _) in OVERHEADS.items()}
        return Mapping(given.mark, {**typical, **own}, given.key)
    below = _spelt_out(word, path, problems)
    if isinstance(below, Mapping):
        return Mapping(given.mark, {**below.entries, **own}, given.key)
    return below if isinstance(below, Bad) else given


def _read(file: Path, given: Scalar, problems: Problems) -> Node:
    found = Problems()
    text = read_text(file, str(file), found)
    if text is None:
        reason = found.only().message.split(", expected")[0]
        what = f"server.overheads: {given.text[:200]}: {reason}"
        problems.add(given.mark, f"{what}, expected a file that sim calibrate wrote")
        return Bad(given.mark, given.key)
    node = parse(text, str(file), problems)
    if isinstance(node, Scalar) and node.value is not None:
        what = f"not a mapping, expected such as {{loop_before: 280us}} ({file})"
        problems.add(node.mark, what)
        return Bad(given.mark, given.key)
    if isinstance(node, Mapping) and FROM in node.entries:
        what = f"{FROM}: in a file of overheads, expected their values ({file})"
        problems.add(node.entries[FROM].mark, what)
        return Bad(given.mark, given.key)
    return node


def _has_loop(server: Mapping) -> bool:
    """Whether it is an ASGI server, the only kind whose loop lets go of the GIL for moments."""
    words = {n.text for k in ("kind", "preset") if isinstance(n := server.entries.get(k), Scalar)}
    return not words & {"sync", "threads", "flask", "django"}


def _waking(gil: Node | None, wake: Node) -> Node:
    """The GIL as it was given, with this wake-up time where it says none."""
    if isinstance(gil, Mapping):
        return Mapping(gil.mark, {"wake": wake, **gil.entries}, gil.key)
    if isinstance(gil, Scalar) and gil.value is not True:
        return gil
    return Mapping(wake.mark, {"wake": wake}, wake.key)

"""What ``sim validate``, ``sim schema`` and ``sim examples`` do: scenarios that are not run."""

from __future__ import annotations

import json

from simulator.commands import console


def validated(arguments: list[str], *, resolved: bool) -> int:
    """Print what is wrong and what was found, or all defaults; gives back the exit code."""
    from simulator.scenario import ScenarioError, dumps, findings, load

    files, overrides = console.files_and_overrides(arguments)
    code = console.OK
    for file in files:
        try:
            scenario = load(file, overrides)
        except ScenarioError as error:
            console.tell(error)
            code = console.INVALID
            continue
        if resolved:
            console.show(dumps(scenario.document))
            continue
        console.show(f"{file}: valid\n")
        for found in findings(scenario):
            hint = f"; {found.hint}" if found.hint else ""
            console.show(f"{found.place}: {found.severity} {found.code}: {found.message}{hint}\n")
    return code


def print_schema() -> None:
    """Print the JSON Schema of a scenario."""
    from simulator.scenario import json_schema

    console.show(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n")


def print_examples(name: str | None) -> None:
    """List the scenarios that come with the simulator, or print one."""
    from simulator.scenario import examples

    known = {known: (question, path) for known, question, path in examples()}
    if name is None:
        width = max(map(len, known))
        for known_name, (question, _) in known.items():
            console.show(f"{known_name:{width}}  {question}\n")
        console.tell("\nsim examples NAME > my.yaml, then: sim run my.yaml")
    elif name in known:
        console.show(known[name][1].read_text(encoding="utf-8"))
    else:
        from simulator.scenario.problem import nearest

        console.usage(f"no example called '{name}', {nearest(name, known, cutoff=0.5)}")

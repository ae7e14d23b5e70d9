"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SEED = {"min": 0, "max": 2**31 - 1}  # as in a scenario, so that what -o writes can be run again
Arguments = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE... [KEY=VALUE...]",
        help="Scenario files, then overrides such as pools.db.size=100.",
    ),
]
Seed = Annotated[int | None, typer.Option(**SEED, help="Instead of the scenario's.")]
Jobs = Annotated[int | None, typer.Option(min=1, help="Processes; default: one per processor.")]
EngineName = Annotated[
    str, typer.Option("--engine", metavar="auto|simpy|compiled", help="All give one answer.")
]
Budget = Annotated[str | None, typer.Option(help="Such as 'requests<=20k,rate<=2000/s,time<=2m'.")]
Number = Annotated[
    str, typer.Option("-n", metavar="N|auto", help="Replications; auto: as many as it takes.")
]
AsJson = Annotated[bool, typer.Option("--json", help="All numbers as JSON.")]
Metric = Annotated[str | None, typer.Option(help="What is found and drawn, such as latency.p99.")]
Table = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write the table; - is the output.")
]
Curve = Annotated[
    Path | None, typer.Option(metavar="FILE.svg|png|pdf", help="Write a curve or heat map.")
]
SweptKeys = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE [KEY=VALUES...]",
        help="VALUES: 10,20,50 or 10..100..10 or 'linspace(1,5,9)' or 'geomspace(1,1000,4)'; "
        "one value is fixed. Without VALUES: the file's own `sweep:`.",
    ),
]
Compared = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE... [KEY=VALUE...]",
        help="Scenarios, or result.json of an earlier run, all against the first; or one "
        "scenario, which is compared with itself with the overrides.",
    ),
]
Conditions = Annotated[
    list[str] | None,
    typer.Option(metavar="CHANGE", help="Such as 'latency p(95) > +5%': exit 99 if so."),
]
SearchedKeys = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE KEY=LO..HI... [KEY=VALUE...]",
        help="The key that is searched, as in a sweep; one value is fixed.",
    ),
]
Goals = Annotated[
    list[str] | None,
    typer.Option(metavar="GOAL", help="Such as 'p(95)<200ms'; beside the file's thresholds."),
]
Limits = Annotated[
    list[str] | None,
    typer.Option("--max", metavar="NAME<=N", help="Such as 'connections<=97'."),
]
Prices = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=PRICE", help="Of one more, where several keys are searched."),
]

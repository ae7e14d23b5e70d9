"""How far a long command is: what is done, of how much, and how much time is left.

Said on a terminal only, and only of what takes longer than two seconds; nothing when piped. The
time left is what the rest takes if it goes on as before.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from simulator.commands import console

if TYPE_CHECKING:
    from simulator.experiments.size import Trial
    from simulator.scenario import Scenario

AFTER_S = 2.0
"""Seconds in which nobody wonders yet."""


def asked_for() -> bool:
    """Whether somebody watches."""
    return sys.stderr.isatty()


def words(text: str) -> None:
    """What a command is doing; for parts whose length is not known."""
    if asked_for():
        console.tell(text)


def requests(scenario: Scenario) -> Callable[[int], None]:
    """Of one run: to be called with the number of requests that have arrived."""
    if not asked_for():
        return lambda arrived: None
    from simulator.engine import requests_of

    plan = scenario.plan
    return _requests(scenario.name, sum(requests_of(load, plan) for load in plan.loads))


def _requests(name: str, expected: float) -> Callable[[int], None]:
    began = time.monotonic()

    def said(arrived: int) -> None:
        elapsed = time.monotonic() - began
        if arrived and elapsed > AFTER_S:
            of, rest = "", f"{elapsed:.0f} s"
            if arrived < expected:
                of = f" of about {expected:,.0f}"
                rest = _left(elapsed, arrived / expected)
            console.status(f"{name}: {arrived:,}{of} requests arrived, {rest}")

    return said


def runs(noun: str) -> Callable[[int, int], None]:
    """Of many alike: to be called with how many are done, and of how many."""
    said = points(noun)
    return lambda done, of: said(done, of, done / max(of, 1))


def points(noun: str = "points") -> Callable[[int, int, float], None]:
    """Of a sweep: points that are done, their number, the share of runs done.

    Called at the beginning with nothing done, it says so where that lasts.
    """
    if not asked_for():
        return lambda done, of, share: None
    began = time.monotonic()
    first: list[threading.Timer] = []

    def said(done: int, of: int, share: float) -> None:
        while first:
            first.pop().cancel()
        if not share:
            words = f"{done} of {of} {noun}, the first is under way"
            first.append(threading.Timer(max(AFTER_S, 0), console.status, [words]))
            first[0].daemon = True
            first[0].start()
            return
        elapsed = time.monotonic() - began
        if elapsed > AFTER_S:
            rest = _left(elapsed, share) if done < of else f"{elapsed:.0f} s"
            console.status(f"{done} of {of} {noun}, {rest}")
            if done == of:
                console.keep_status()

    return said


def changes() -> Callable[[str, int, int], None]:
    """Of an explanation: what the next run changes, how many are done, of about how many."""
    if not asked_for():
        return lambda what, done, of: None
    began = time.monotonic()

    def said(what: str, done: int, of: int) -> None:
        elapsed = time.monotonic() - began
        if done and elapsed > AFTER_S:
            rest = _left(elapsed, done / max(of, done + 1))
            console.status(f"{done} of about {of} runs, {rest}: {what}")

    return said


def trials() -> tuple[Callable[[Trial, int], None], Callable[[int, int], None]]:
    """Of a search: after each trial, and after each run of one that has several.

    As many trials are to come as halve what is undecided until nothing is.
    """
    if not asked_for():
        return (lambda trial, left: None), (lambda done, of: None)
    began = time.monotonic()
    known: list[Trial] = []

    def said(trial: Trial, left: int) -> None:
        known.append(trial)
        elapsed = time.monotonic() - began
        if elapsed > AFTER_S:
            verdict = "passes" if trial.passed else "fails"
            console.tell(f"{', '.join(trial.values)} {verdict}, {left} values undecided")
            more = math.ceil(math.log2(left + 1))
            rest = _left(elapsed, len(known) / (len(known) + more))
            console.status(f"{len(known)} of about {len(known) + more} trials, {rest}")

    def ran(done: int, of: int) -> None:
        if time.monotonic() - began > AFTER_S:
            console.status(f"trial {len(known) + 1}: {done} of {of} runs")

    return said, ran


def _left(elapsed_s: float, share: float) -> str:
    return f"about {elapsed_s / max(share, 1e-9) * (1 - share):.0f} s left"

"""Style is a test: who may import whom, what is never called, how long things may get.

Each rule is a function from a module to what breaks it, and each has a snippet that does.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import pytest

from tests.conftest import ROOT

LINES_MAX = 420
FUNCTION_LINES_MAX = 60

LONG_FILES = {
    "simulator/plan.py": "all fields of a plan, each with its meaning, are read together",
    "tests/swarm.py": "one generator for each key of the language",
}
LONG_FUNCTIONS = {
    "tests/report/test_machine.py:test_the_whole_document": "one document, spelt out whole",
}

BESIDE = ("simulator.plan", "simulator.trace", "simulator.workload", "simulator.distributions")
SMALL = (
    "simulator.units",
    "simulator.arrays",
    "simulator.record",
    "simulator.thresholds",
    "simulator.version",
)
CONTRACT = ("simulator.engines.contract", "simulator.engines.costs")
SEAM = (*BESIDE, *SMALL, *CONTRACT)

ARROWS: dict[str, tuple[str, ...]] = {
    "models": ("models",),
    **dict.fromkeys((*BESIDE, *SMALL), (*BESIDE, *SMALL)),
    **dict.fromkeys(CONTRACT, (*BESIDE, *SMALL)),
    "simulator.engines": ("models", "simulator.engines", *BESIDE, *SMALL),
    "simulator.engines.compiled": ("simulator.engines.compiled", *SEAM),
    "simulator.engine": ("simulator.engines.reference", "simulator.engines.compiled", *SEAM),
    "simulator.scenario": ("simulator.scenario", *SEAM),
    "simulator.analysis": ("simulator.analysis", "simulator.report.format", *SEAM),
    "simulator.footprint": ("simulator.analysis", "simulator.engine", *SEAM),
    "simulator.answer": (
        "simulator.scenario", "simulator.analysis", "simulator.engine", *SEAM,
    ),
    "simulator.experiments": (
        "simulator.experiments", "simulator.answer", "simulator.scenario", "simulator.analysis",
        "simulator.engine", "simulator.report.format", *SEAM,
    ),
    "simulator.calibration": (
        "simulator.calibration", "simulator.answer", "simulator.scenario", "simulator.analysis",
        "simulator.engines.reference", "simulator.report.format", *SEAM,
    ),
    "simulator.calibration.served": (
        "simulator.calibration.served", "simulator.scenario", "simulator.engines.faults", *SEAM,
    ),
    "simulator.report": (
        "simulator.report", "simulator.experiments", "simulator.answer", "simulator.analysis",
        *SEAM,
    ),
}  # fmt: skip
"""Which parts of the project a part may import; commands and the command line may all."""

INVITED: dict[str, tuple[str, ...]] = {
    "simulator.scenario.from_app": ("fastapi",),
    "simulator.report.html": ("numpy", "jinja2", "markupsafe"),
    "models": ("simpy",),
    "simulator.engines": ("simpy", "numpy"),
    "simulator.engines.compiled": ("numpy",),
    "simulator.scenario": ("ruamel", "numpy"),
    "simulator.report": ("numpy", "matplotlib"),
    "simulator.analysis": ("numpy", "scipy"),
    "simulator.experiments": ("numpy", "distributed"),
    "simulator.commands": ("typer",),
    "simulator.calibration.generator": ("numpy", "httptools"),
    "simulator.calibration": ("numpy", "fastapi"),
    "simulator.calibration.served": (
        "aiohttp", "anyio", "asyncpg", "fastapi", "gunicorn", "httpx", "numpy", "psycopg",
        "psycopg_pool", "requests", "sqlalchemy", "starlette", "uvicorn", "uvloop",
    ),
    "cli": ("typer",),
    "simulator": ("numpy",),
}  # fmt: skip
"""Which libraries a part may import; the longest name counts."""

PICTURES = (
    "simulator.report.overlay",
    "simulator.report.plots",
    "simulator.report.axes",
    "simulator.report.bands",
    "simulator.report.staircase",
    "simulator.report.sweep_curve",
    "simulator.report.sweep_heat",
    "simulator.report.sweep_plot",
)
"""Who imports matplotlib; anybody else imports these inside a function only."""

LAZY = ("cli", "simulator.commands")
"""Who imports only these two and typer before a command runs."""

ADDRESSED = ("default_rng", "Generator", "Philox", "SeedSequence", "BitGenerator")


@dataclass(frozen=True)
class Module:
    """A file of the project, parsed."""

    path: str  # as git lists it
    text: str

    @property
    def name(self) -> str:
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)


MADE = re.compile(r"(?:^|/)(?:\.venv|build|__pycache__|\.\w+_cache|\.hypothesis|[^/]*\.egg-info)/")


def tracked(*patterns: str) -> list[str]:
    """Paths of the project's own files, without what tools made, also in a copy without git."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    names = listed.stdout.splitlines()
    if listed.returncode:  # a copy without its history
        found = {path for pattern in patterns for path in ROOT.rglob(pattern)}
        names = sorted(path.relative_to(ROOT).as_posix() for path in found)
    return [name for name in names if (ROOT / name).is_file() and not MADE.search(name)]


@cache
def source() -> list[Module]:
    return [Module(name, (ROOT / name).read_text(encoding="utf-8")) for name in tracked("*.py")]


def within(name: str, parts: tuple[str, ...]) -> bool:
    return any(name == part or name.startswith(part + ".") for part in parts)


def longest(name: str, table: dict[str, tuple[str, ...]]) -> tuple[str, ...] | None:
    """The entry of the closest part that a module belongs to."""
    found = [part for part in table if within(name, (part,))]
    return table[max(found, key=len)] if found else None


def imports(node: ast.AST, *, types: bool = False, inner: bool = True) -> Iterator[str]:
    """What is imported, in full names; with ``inner`` also inside functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        elif isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            if types:
                yield from imports(child, types=types, inner=inner)
        elif inner or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from imports(child, types=types, inner=inner)


def is_test(module: Module) -> bool:
    return module.path.startswith("tests/")


def wrong_arrows(module: Module) -> list[str]:
    """Imports of parts of the project that this part must not know."""
    allowed = longest(module.name, ARROWS)
    if allowed is None:
        return []
    return [
        name
        for name in imports(module.tree, types=True)
        if within(name, ("simulator", "models", "cli", "configs", "tests"))
        and not within(name, allowed)
    ]


def uninvited_guests(module: Module) -> list[str]:
    """Libraries that this part must not import, or only in pictures."""
    allowed = longest(module.name, INVITED)
    if allowed is None:
        return []
    ours = {*sys.stdlib_module_names, "simulator", "models", "cli", "configs"}
    names = [n for n in imports(module.tree, types=True) if n.split(".")[0] not in ours]
    wrong = [name for name in names if not within(name, allowed)]
    return wrong + [
        name
        for name in names
        if within(name, ("matplotlib",)) and module.name not in PICTURES and name not in wrong
    ]


def early_imports(module: Module) -> list[str]:
    """What is imported at the start although it is heavy."""
    if is_test(module):
        return []
    names = list(imports(module.tree, inner=False))
    if within(module.name, LAZY):
        ours = [name for name in names if within(name, ("simulator", "models"))]
        return [name for name in ours if not within(name, ("simulator.commands",))]
    if module.name in PICTURES:
        return []
    return [name for name in names if within(name, PICTURES)]


def banned_calls(module: Module) -> list[str]:
    """Randomness without an address, printing, clocks in models, and catching everything."""
    found = []
    timeless = within(module.name, ("models", "simulator.engines", "simulator.workload"))
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ExceptHandler):
            everything = node.type is None or ast.unparse(node.type) == "BaseException"
            again = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
            if everything and not again:
                found.append("except BaseException")
        if not isinstance(node, ast.Call):
            continue
        call = ast.unparse(node.func)
        if call == "print" and not (is_test(module) or module.name == "cli"):
            found.append(call)
        if re.match(r"random\.(?!Random$)\w+$", call):
            found.append(call)
        legacy = re.match(r"(?:np|numpy)\.random\.(\w+)$", call)
        if legacy and legacy.group(1) not in ADDRESSED:
            found.append(call)
        if timeless and re.match(
            r"(time\.|(datetime\.)*(datetime|date)\.(now|today|utcnow))", call
        ):
            found.append(call)
    return found


def too_long(module: Module) -> list[str]:
    """Files and functions longer than a person reads at once, unless named with a reason."""
    found = []
    lines = module.text.count("\n")
    if lines > LINES_MAX and module.path not in LONG_FILES:
        found.append(f"{lines} lines")
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            if length > FUNCTION_LINES_MAX and f"{module.path}:{node.name}" not in LONG_FUNCTIONS:
                found.append(f"{node.name}: {length} lines")
    return found


def code_in_init(module: Module) -> list[str]:
    """What stands in an ``__init__.py`` beside its docstring, imports and ``__all__``."""
    if not module.path.endswith("__init__.py"):
        return []
    return [
        ast.unparse(node)
        for node in module.tree.body
        if not isinstance(node, ast.Import | ast.ImportFrom)
        and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        and not (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__")
    ]


def without_docstring(module: Module) -> list[str]:
    """Modules, public classes and functions that do not say what they are."""
    if is_test(module) and (
        module.path.endswith("__init__.py") or not Path(module.path).name.startswith("test_")
    ):
        return []
    found = [] if ast.get_docstring(module.tree) else ["module"]
    if is_test(module):
        return found  # a test's name is its sentence
    return found + [
        node.name
        for node in module.tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]


Rule = Callable[[Module], list[str]]

BROKEN: list[tuple[Rule, str, str]] = [
    (wrong_arrows, "models/lock.py", "from simulator.plan import Plan"),
    (wrong_arrows, "simulator/plan.py", "def late():\n    import simulator.engines.contract"),
    (wrong_arrows, "simulator/analysis/bounds.py", "from simulator.engines import steps"),
    (wrong_arrows, "simulator/scenario/check.py", "from simulator.engines.servers import x"),
    (wrong_arrows, "simulator/engines/calls.py", "from simulator.scenario import load"),
    (wrong_arrows, "simulator/experiments/sweep.py", "from simulator.report import plots"),
    (wrong_arrows, "simulator/engines/compiled/lock.py", "from models import RowLock"),
    (wrong_arrows, "simulator/engines/compiled/calls.py", "from simulator.engines import calls"),
    (uninvited_guests, "simulator/engines/compiled/jit.py", "import simpy"),
    (uninvited_guests, "models/lock.py", "import numpy as np"),
    (uninvited_guests, "models/lock.py", "import pandas"),
    (uninvited_guests, "simulator/report/files.py", "import matplotlib"),
    (uninvited_guests, "simulator/analysis/exact.py", "from simpy import Event"),
    (early_imports, "cli.py", "from simulator.scenario import load"),
    (early_imports, "simulator/report/files.py", "from simulator.report import plots"),
    (banned_calls, "simulator/workload.py", "random.random()"),
    (banned_calls, "simulator/workload.py", "np.random.uniform(1)"),
    (banned_calls, "simulator/answer.py", "print(1)"),
    (banned_calls, "models/clock.py", "time.time()"),
    (banned_calls, "simulator/engines/task.py", "datetime.datetime.now()"),
    (banned_calls, "tests/naive.py", "try: x\nexcept: pass"),
    (banned_calls, "tests/naive.py", "try: x\nexcept BaseException: pass"),
    (too_long, "simulator/answer.py", "\n" * (LINES_MAX + 1)),
    (too_long, "simulator/answer.py", "def f():\n" + "    x\n" * FUNCTION_LINES_MAX),
    (code_in_init, "models/__init__.py", "import simpy\nsimpy.rt = 1"),
    (without_docstring, "models/lock.py", "x = 1"),
    (without_docstring, "models/lock.py", "'''Locks.'''\nclass Lock: pass"),
    (without_docstring, "models/lock.py", "'''Locks.'''\ndef lock(): pass"),
]
RULES = list(dict.fromkeys(rule for rule, _, _ in BROKEN))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule_is_kept(rule: Rule) -> None:
    assert {module.path: broken for module in source() if (broken := rule(module))} == {}


@pytest.mark.parametrize(
    ("rule", "path", "text"), BROKEN, ids=lambda part: getattr(part, "__name__", str(part)[:60])
)
def test_rule_can_fail(rule: Rule, path: str, text: str) -> None:
    assert len(rule(Module(path, text))) == 1


def test_exceptions_are_needed() -> None:
    files = {module.path: module for module in source()}
    for path in LONG_FILES:
        assert files[path].text.count("\n") > LINES_MAX, path
    for place in LONG_FUNCTIONS:
        path, name = place.split(":")
        assert f"def {name}" in files[path].text, place


MACHINE = re.compile(
    r"/(?:home|root|Users|mnt|tmp)/\w|/work/|\bfile://|[\w.-]*(?:index|registry|proxy|mirror)"
    r"[\w.-]*\.(?:org|com|io|net|internal|local)\b|\b(?:10|192\.168|172\.16)(?:\.\d{1,3}){2,3}\b"
)


def places_of_a_machine(text: str) -> list[str]:
    return MACHINE.findall(text)


def test_no_file_names_a_place_of_one_machine() -> None:
    found = {}
    for path in tracked("*"):
        if path == "tests/test_style.py" or path.endswith((".svg", ".png")):
            continue
        text = (ROOT / path).read_text(encoding="utf-8", errors="replace")
        if names := places_of_a_machine(text):
            found[path] = names
    assert found == {}


@pytest.mark.parametrize(
    "text",
    ["see /home/ann/notes", "/root/x", "file:///x", "https://pypi-mirror.corp.net", "192.168.1.7"],
)
def test_a_place_of_one_machine_would_be_found(text: str) -> None:
    assert len(places_of_a_machine(text)) == 1


HEAVY = ("simpy", "numpy", "matplotlib", "scipy", "ruamel", "typer", "numba", "joblib")


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, cli; sys.argv = ['sim', '--help']\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert "Usage: sim" in shown.stdout
    assert shown.stderr.strip() == "['typer']"

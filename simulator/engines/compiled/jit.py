"""The only place that knows Numba: how kernels are compiled, and where the result is kept.

Kernels are plain Python functions on lists of integers as well: with ``NUMBA_DISABLE_JIT=1``,
or without Numba, they run as such.

What Numba keeps on disk for a function it makes anew when that function's file changes or is
another one, not when one that it calls does. So the folder is named by a hash of the kernels'
sources, of the entry's path and last change, of Numba, Python and the processor: what is in it
is what Numba will find there, and another source is another folder.
"""

from __future__ import annotations

import atexit
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., Any])


def is_installed() -> bool:
    """Whether there is a Numba; it is not imported."""
    try:
        version("numba")
    except PackageNotFoundError:
        return False
    return True


DISABLED = os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")
PLAIN = DISABLED or not is_installed()
"""Whether kernels run as plain Python."""

OPTIONS: dict[str, Any] = {
    "nogil": True,
    "fastmath": False,
    "boundscheck": False,
    "error_model": "numpy",  # no kernel divides by what may be 0
}
ONLY_CALLED_BY_KERNELS = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
KERNEL = Path(__file__).parent / "kernel.py"
IMPORT = re.compile(r"^from ([\w.]+) import ([\w ,]*)", re.MULTILINE)


def sources(entry_file: Path) -> list[Path]:
    """The file of an entry and all files beside it that it imports, directly or not."""
    found, todo = {entry_file}, [entry_file]
    while todo:
        for module, names in IMPORT.findall(todo.pop().read_text(encoding="utf-8")):
            for name in (module.rpartition(".")[2], *names.replace(",", " ").split()):
                path = entry_file.parent / f"{name}.py"
                if path not in found and path.exists():
                    found.add(path)
                    todo.append(path)
    return sorted(found)


def folder(entry_file: Path = KERNEL) -> Path:
    """Where what an entry compiles to is kept, if that can be written to."""
    mixed = blake2b(digest_size=8)
    mixed.update(f"{entry_file.resolve()} {entry_file.stat().st_mtime_ns}\0".encode())
    for path in sources(entry_file):
        mixed.update(path.name.encode() + b"\0" + path.read_bytes())
    # Kernels have numbers of causes and outcomes, and limits, from these.
    for outside in ("../contract.py", "../../plan.py"):
        if (entry_file.parent / outside).exists():
            mixed.update((entry_file.parent / outside).read_bytes())
    machine = (sys.version, version("numba"), version("llvmlite"), platform.machine())
    mixed.update(repr((*machine, _processor())).encode())
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "concurrency-simulator" / f"{entry_file.stem}-{mixed.hexdigest()}"


def _processor() -> str:
    """The processor's own name and abilities, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags"))}))


def is_kept(entry_file: Path = KERNEL) -> bool:
    """Whether the kernels of an entry were compiled before on this machine."""
    return not PLAIN and any(folder(entry_file).rglob("*.nbi"))


def _kept_in(entry_file: Path) -> Path:
    """The folder, made for this user alone; one that lasts for this process if that fails."""
    wanted = folder(entry_file)
    try:
        wanted.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=wanted):
            return wanted
    except OSError:
        own = tempfile.mkdtemp(prefix="concurrency-simulator-")
        atexit.register(shutil.rmtree, own, ignore_errors=True)
        return Path(own)


def kernel(function: Function) -> Function:
    """A function that kernels call."""
    return function if PLAIN else _compiled(function, **ONLY_CALLED_BY_KERNELS)


def entry(function: Function) -> Function:
    """A function that the host calls; what it compiles to is kept on disk."""
    if PLAIN:
        return function
    config: Any = import_module("numba").config
    before = config.CACHE_DIR
    config.CACHE_DIR = str(_kept_in(Path(function.__code__.co_filename)))
    try:
        compiled: Any = _compiled(function, cache=True)
    finally:
        config.CACHE_DIR = before
    compile_as_numba_does = compiled.compile

    def compile_whole(signature: object) -> object:
        with _own_copies(function.__qualname__):
            return compile_as_numba_does(signature)

    compiled.compile = compile_whole
    return cast(Function, compiled)


@contextmanager
def _own_copies(name: str) -> Iterator[None]:
    """Meanwhile what an entry calls is compiled as a part of it that nobody else can call.

    Numba makes all functions visible, with a status and a place for errors that each caller
    looks at. Where LLVM knows all callers it leaves that out, and inlines what has just one:
    a third of the time in the kernels. As in Numba 0.68; where its inside is another one
    (``CPUCodeLibrary``), kernels are compiled as it does.
    """
    library: Any = import_module("numba.core.codegen").CPUCodeLibrary
    optimize = getattr(library, "_optimize_final_module", None)
    if optimize is None:
        yield
        return

    def optimize_whole(self: Any) -> None:
        linked_in = import_module("llvmlite.binding").Linkage.linkonce_odr
        for function in self._final_module.functions if self.name == name else ():
            if function.linkage == linked_in and not function.is_declaration:
                function.linkage = "internal"
        optimize(self)

    library._optimize_final_module = optimize_whole
    try:
        yield
    finally:
        library._optimize_final_module = optimize


def python(function: Function) -> Function:
    """A kernel as the host calls it: uncompiled, so nothing is compiled for a single call."""
    plain: Function = getattr(function, "py_func", function)
    return plain


def _compiled(function: Any, **options: bool) -> Any:
    numba: Any = import_module("numba")
    return numba.njit(**OPTIONS, **options)(function)


def _pointer() -> Any:
    """A kernel that gives back the address of an array's words."""
    types: Any = import_module("numba").types
    extending: Any = import_module("numba.extending")

    def pointer(typing: Any, memory: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            array = context.make_array(signature.args[0])(context, builder, arguments[0])
            return array.data

        return types.CPointer(types.int64)(memory), generate

    return extending.intrinsic(pointer)


def _same(memory: Any) -> Any:
    return memory


pointer: Any = _same if PLAIN else _pointer()
"""The memory as kernels address it: a pointer, one argument where an array takes seven."""

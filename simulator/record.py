"""Data classes that cost half as much to define.

The standard decorator compiles the methods of every class anew; a hundred classes take a
tenth of a second of each start. Here equality, hash and repr are written once, for all.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(cls: type | None = None, /, **options: bool) -> Any:
        """The standard decorator, with the methods of this module."""

        compared = options.pop("eq", True)

        def define(cls: type) -> type:
            methods = {name: method for name, method in _METHODS.items() if name not in vars(cls)}
            made = dataclasses.dataclass(cls, eq=False, repr=False, **options)
            if not compared:
                del methods["__eq__"], methods["__hash__"]
            elif not options.get("frozen"):
                methods["__hash__"] = None
            for name, method in methods.items():
                setattr(made, name, method)
            return made

        return define if cls is None else define(cls)


def _compared(record: Any) -> tuple[Any, ...]:
    fields = type(record).__dataclass_fields__.values()
    return tuple(getattr(record, field.name) for field in fields if field.compare)


def _equal(self: Any, other: object) -> Any:
    """Equal fields of one class, as the standard data class has it."""
    if type(self) is not type(other):
        return NotImplemented
    return _compared(self) == _compared(other)


def _hash(self: Any) -> int:
    return hash(_compared(self))


def _represent(self: Any) -> str:
    fields = type(self).__dataclass_fields__.values()
    shown = (f"{field.name}={getattr(self, field.name)!r}" for field in fields if field.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


_METHODS = {"__eq__": _equal, "__hash__": _hash, "__repr__": _represent}

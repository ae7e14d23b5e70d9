"""Records as plain JSON data and back, exactly: a fraction stays a fraction.

Data classes become objects of their fields, fractions text such as "1/3". What comes back
equals what went in, so that a result taken up again is the same to the byte.
"""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

Record = TypeVar("Record")


def encode(value: Any) -> Any:
    """Plain data of a record."""
    if dataclasses.is_dataclass(value):
        return {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Fraction):
        return f"{value.numerator}/{value.denominator}"
    if isinstance(value, Mapping):
        # Pairs, because keys are tuples.
        return [[encode(key), encode(item)] for key, item in value.items()]
    if isinstance(value, float) and math.isinf(value):
        return str(value)  # JSON has no word for it
    if isinstance(value, tuple):
        return [encode(item) for item in value]
    return value


def decode(kind: type[Record], value: Any) -> Record:
    """The record of plain data.

    Raises
    ------
    ValueError
        If the data is not that of such a record.
    """
    found: Record = _decode(kind, value)
    return found


def _decode(kind: Any, value: Any) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _one_of(inner, value)
    if origin is tuple:
        items = _list(value)
        kinds = [inner[0]] * len(items) if inner[-1] is Ellipsis else list(inner)
        if len(kinds) != len(items):
            raise ValueError(f"{len(items)} items, expected {len(kinds)}")
        return tuple(_decode(k, item) for k, item in zip(kinds, items, strict=True))
    if origin is not None and issubclass(origin, Mapping):
        return {_decode(inner[0], k): _decode(inner[1], v) for k, v in map(_list, _list(value))}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        if not isinstance(value, dict) or set(value) != set(_fields(kind)):
            raise ValueError(f"not a {kind.__name__}: {str(value)[:60]}")
        return kind(**{name: _decode(k, value[name]) for name, k in _fields(kind).items()})
    if kind is Fraction and isinstance(value, str):
        return Fraction(value)
    if kind is float and (type(value) is int or value in ("inf", "-inf")):
        return float(value)
    if type(value) is not kind:
        raise ValueError(f"{str(value)[:60]} is not a {kind.__name__}")
    return value


def _one_of(kinds: tuple[Any, ...], value: Any) -> Any:
    for kind in kinds:
        if kind is type(None) and value is None:
            return None
        if kind is not type(None) and value is not None:
            try:
                return _decode(kind, value)
            except ValueError:
                pass
    raise ValueError(f"{str(value)[:60]} is none of the kinds expected")


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{str(value)[:60]} is not a list")
    return value


@cache
def _fields(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}

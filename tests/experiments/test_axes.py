"""What `KEY=VALUES` means: lists, ranges, spaces, and what is refused."""

from __future__ import annotations

import pytest

from simulator.experiments.axes import Axis, AxisError, parse, points, positions, spelt, written


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("10,20,50", ("10", "20", "50")),
        ("async def,def", ("async def", "def")),
        ("1..4", ("1", "2", "3", "4")),
        ("10..100..30", ("10", "40", "70", "100")),
        ("10..95..30", ("10", "40", "70")),
        ("0.1..0.3..0.1", ("0.1", "0.2", "0.3")),
        ("10ms..50ms..20ms", ("10ms", "30ms", "50ms")),
        ("10..50..20ms", ("10ms", "30ms", "50ms")),
        ("500ms..1.5s..500ms", ("500ms", "1s", "1.5s")),
        ("100/s..300/s..100/s", ("100/s", "200/s", "300/s")),
        ("1,5,10..30..10", ("1", "5", "10", "20", "30")),
        ("linspace(1,5,9)", ("1", "1.5", "2", "2.5", "3", "3.5", "4", "4.5", "5")),
        ("linspace(1ms, 2ms, 3)", ("1ms", "1.5ms", "2ms")),
        ("geomspace(1,1000,4)", ("1", "10", "100", "1000")),
        ("geomspace(1,10,3)", ("1", "3", "10")),
        ("100", ("100",)),
        ("", ("",)),
        ("{rate: 20/s, requests: 500}", ("{rate: 20/s, requests: 500}",)),
        ("[1, 2],[3]", ("[1, 2]", "[3]")),
        ('"a,b",c', ('"a,b"', "c")),
    ],
)
def test_values(text: str, values: tuple[str, ...]) -> None:
    assert parse(f"pools.db.size={text}") == Axis("pools.db.size", values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10..1", "a=10..1: expected a range from low to high, with a step above 0"),
        ("1..10..0", "a=1..10..0: expected a range from low to high, with a step above 0"),
        ("1ms..5/s", "a=1ms..5/s: units /s and ms, expected one"),
        ("1,2,1", "a: 1 is there twice, expected each value once"),
        ("linspace(1,5,1)", "a=linspace(1,5,1): 1 values, expected 2 to 10000 (POINTS_MAX)"),
        ("geomspace(0,5,3)", "a=geomspace(0,5,3): geomspace can't begin or end at 0"),
        ("0..99999", "a=0..99999: 100000 values, expected at most 10000 (POINTS_MAX)"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(AxisError) as raised:
        parse(f"a={text}")
    assert str(raised.value) == message


def test_a_broken_range_names_the_spellings() -> None:
    with pytest.raises(AxisError, match=r"1\.\.\.5 is not a range, expected such as 10\.\.100,"):
        parse("a=1...5")


def test_points_are_a_grid_whose_last_key_changes_fastest() -> None:
    axes = [Axis("a", ("1", "2")), Axis("b", ("x", "y"))]
    assert points(axes) == (("1", "x"), ("1", "y"), ("2", "x"), ("2", "y"))
    assert points(axes, zipped=True) == (("1", "x"), ("2", "y"))


def test_zipped_keys_have_as_many_values() -> None:
    with pytest.raises(AxisError, match="a has 2, b has 1"):
        points([Axis("a", ("1", "2")), Axis("b", ("x",))], zipped=True)


def test_too_many_points_name_the_limit() -> None:
    many = Axis("a", tuple(map(str, range(101))))
    with pytest.raises(AxisError, match=r"10201 points, expected at most 10000 \(POINTS_MAX\)"):
        points([many, Axis("b", many.values)])


def test_an_entry_of_the_file_is_spelt_as_an_override() -> None:
    values = ["async def", 2, True, "true", "10", {"exp": "5ms"}, None]
    assert [spelt(value) for value in values] == [
        "async def", "2", "true", '"true"', '"10"', '{"exp": "5ms"}', "null",
    ]  # fmt: skip
    assert written("a", ["10..30..10", 50]) == Axis("a", ("10", "20", "30", "50"))


def test_positions_on_a_numeric_axis() -> None:
    assert positions(["10", "2k"]) == (10.0, 2000.0)
    assert positions(["500ms", "2s"]) == (0.5, 2.0)
    assert positions(["90/min", "2/s"]) == (1.5, 2.0)
    assert positions(["1", "2s"]) is None
    assert positions(["async def", "def"]) is None

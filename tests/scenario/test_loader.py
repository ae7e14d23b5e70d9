"""Reading: guards, places, overrides, extends and vars."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.scenario import ScenarioError, load, loads
from simulator.scenario.source import SOURCE_BYTES_MAX

BASE = """\
load: {requests: 10, at: once}
pools:
  db: {size: 50}
routes:
  get_user:
    handler: async def
    steps:
      - {query: db, time: 5s}
      - await: 1s
"""


def messages(text: str, *overrides: str) -> list[str]:
    with pytest.raises(ScenarioError) as raised:
        loads(text, overrides, path="a.yaml")
    return [str(problem) for problem in raised.value.problems]


def test_override_replaces_and_creates() -> None:
    scenario = loads(BASE, [
        "pools.db.size=100",
        "routes.get_user.steps[0].time={exp: 3s}",
        "server.workers=4",
        "seed=7",
    ])  # fmt: skip
    assert scenario.document["pools"]["db"]["size"] == 100
    assert scenario.document["routes"]["get_user"]["steps"][0]["time"] == {"exp": "3s"}
    assert scenario.document["server"]["workers"] == 4
    assert scenario.seed == 7


def test_override_of_a_var() -> None:
    text = "vars: {n: 3}\n" + BASE.replace("size: 50", "size: '${n}'")
    assert loads(text, ["vars.n=9"]).plan.pools[0].size == 9


def test_override_with_an_equals_sign_in_its_value() -> None:
    text = BASE + "description: a\n"
    assert loads(text, ["description=a=b"]).description == "a=b"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("pools.bd.size=3", "no 'bd' in pools, did you mean 'db'?"),
        ("pools.db.sise=3", "pools.db: unknown key 'sise', did you mean 'size'?"),
        ("pools.db.size=", "pools.db.size: nothing given, expected a whole number such as 50 "
         "or 10k"),
        ("pools.db.size", "not KEY=VALUE, expected such as pools.db.size=100"),
        ("=3", "not KEY=VALUE, expected such as pools.db.size=100"),
        ("routes.get_user.steps[5].time=1s", "no [5] in routes.get_user.steps, expected an "
         "index below 2"),
        ("routes.get_user.steps.time=1s", "routes.get_user.steps is a list, expected an index "
         "such as routes.get_user.steps[0]"),
        ("pools[0]=1", "pools is not a list, expected a key"),
        ("pools.db.size.x=3", "pools.db.size: a mapping, expected a whole number such "
         "as 50 or 10k"),
        ("extends=a.yaml", "extends: can't be overridden, expected it in the file"),
        ("seed={", "not valid YAML: expected the node content, but found '<stream end>', "
         "put the value in quotes"),
    ],
)  # fmt: skip
def test_wrong_override(override: str, message: str) -> None:
    assert messages(BASE, override) == [f"override {override}: error: {message}"]


def test_problems_of_the_file_stand_before_those_of_overrides() -> None:
    found = messages(BASE.replace("size: 50", "sise: 50"), "seed=-1")
    assert [line.split(": error")[0] for line in found] == ["a.yaml:3:8", "override seed=-1"]


def test_places_are_those_of_the_lines() -> None:
    scenario = loads(BASE, path="a.yaml")
    assert scenario.place("pools.db") == "a.yaml:3:3"
    assert scenario.place("pools.db.size") == "a.yaml:3:14"
    assert scenario.place("pools.db.overflow") == "a.yaml:3:3"
    assert scenario.place("routes.get_user.steps[0]") == "a.yaml:8:9"
    assert scenario.place("routes.get_user.steps[1].await") == "a.yaml:9:16"
    assert scenario.place("load[0].requests") == "a.yaml:1:18"
    assert scenario.place("server.workers") == "a.yaml:1:1"


def test_place_of_an_overridden_value() -> None:
    scenario = loads(BASE, ["pools.db.size=3"], path="a.yaml")
    assert scenario.place("pools.db.size") == "override pools.db.size=3"


def test_name_is_the_stem_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "my-case.yaml"
    path.write_text(BASE)
    assert load(path).name == "my-case"
    assert loads(BASE).name == "scenario"


def test_unreadable_files(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.yaml", tmp_path):
        with pytest.raises(ScenarioError, match="cannot be read"):
            load(path)


def test_file_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_text(BASE + "#" * SOURCE_BYTES_MAX)
    with pytest.raises(ScenarioError, match="larger than 1 MiB"):
        load(path)


def test_yaml_bomb_is_refused_at_its_first_alias() -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 30)]
    assert any("alias '*a0', expected none" in line for line in messages("\n".join(lines)))


def test_vars_can_not_make_a_bomb() -> None:
    big = ", ".join(["{await: 1s}"] * 20_000)
    uses = "".join("      - to_thread: '${big}'\n" for _ in range(20))
    found = messages(f"vars: {{big: [{big}]}}\n{BASE}{uses}")
    assert any("VARS_NODES_MAX" in line for line in found)


def test_deep_overrides_are_refused() -> None:
    assert "DEPTH_MAX" in messages(BASE, "a" + ".a" * 5000 + "=1")[0]
    assert "DEPTH_MAX" in messages(BASE, "seed=" + "[" * 5000)[0]


def test_extends_cycle_and_chain(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("extends: b.yaml\n")
    (tmp_path / "b.yaml").write_text("extends: a.yaml\n")
    with pytest.raises(ScenarioError, match=r"b\.yaml:1:10: error: extends: a\.yaml is in its own"):
        load(tmp_path / "a.yaml")
    for i in range(15):
        (tmp_path / f"c{i}.yaml").write_text(f"extends: c{i + 1}.yaml\n")
    with pytest.raises(ScenarioError, match="EXTENDS_MAX"):
        load(tmp_path / "c0.yaml")


def test_error_in_the_extended_file_is_shown_there(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(BASE.replace("size: 50", "size: five"))
    (tmp_path / "a.yaml").write_text("extends: base.yaml\nseed: 1\n")
    with pytest.raises(ScenarioError, match=r"base\.yaml:3:14: error: pools\.db\.size: five is"):
        load(tmp_path / "a.yaml")


def test_override_with_null_takes_an_optional_key_away() -> None:
    scenario = loads(BASE, ["pools.db.size=null", "server.workers=null"], path="a.yaml")
    assert scenario.plan.pools[0].size == 10
    assert messages(BASE, "routes.get_user.handler=null") == [
        "override routes.get_user.handler=null: error: routes.get_user.handler: nothing given, "
        "expected def or async def"
    ]


def test_a_var_that_only_an_override_orphaned_is_no_error() -> None:
    text = BASE.replace("size: 50", "size: '${n}'") + "vars: {n: 50}\n"
    assert loads(text, ["pools.db.size=3"]).plan.pools[0].size == 3
    assert messages(text.replace("{n: 50}", "{n: 50, m: 3}"), "pools.db.size=3") == [
        "a.yaml:10:15: error: vars.m: used nowhere, expected '${m}' somewhere"
    ]


def test_name_of_an_example_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError) as raised:
        load(tmp_path / "1000req.yaml")
    assert str(raised.value).endswith(
        "1000req.yaml: error: cannot be read: No such file or directory, expected a YAML file, "
        "sim examples 1000req > 1000req.yaml writes the example"
    )

"""The language: YAML with positions -> ``Scenario`` -> ``Plan``."""

from simulator.scenario.examples import examples, templates
from simulator.scenario.finding import Finding
from simulator.scenario.findings import findings, not_stable
from simulator.scenario.problem import Problem, ScenarioError
from simulator.scenario.rules import Rule, rule, rules
from simulator.scenario.scenario import Scenario, load, loads
from simulator.scenario.schema import json_schema, keys
from simulator.scenario.writing import dumps

__all__ = [
    "Finding",
    "Problem",
    "Rule",
    "Scenario",
    "ScenarioError",
    "dumps",
    "examples",
    "findings",
    "json_schema",
    "keys",
    "load",
    "loads",
    "not_stable",
    "rule",
    "rules",
    "templates",
]

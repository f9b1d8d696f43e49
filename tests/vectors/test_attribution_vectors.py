"""Runs every row of attribution.yaml through the engine."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml

from millimetric_server.enrich.attribution import RULE_SETS, classify

FOLDER = Path(__file__).parent
SCHEMA = json.loads((FOLDER / "attribution.schema.json").read_text("utf-8"))
ROWS: list[dict[str, Any]] = yaml.load(
    (FOLDER / "attribution.yaml").read_text("utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader)
)


def name_row(row: dict[str, Any]) -> str:
    return f"{row['rule_set']}: {row['name']}"


def test_rows_meet_the_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(ROWS, SCHEMA)


def test_names_differ() -> None:
    names = [name_row(row) for row in ROWS]
    assert len(set(names)) == len(names)


def test_every_rule_of_every_set_has_a_row() -> None:
    fired = {(row["rule_set"], row["want"]["rule_id"]) for row in ROWS}
    assert fired == {(name, rule.rule_id) for name, rules in RULE_SETS.items() for rule in rules.rules}


@pytest.mark.parametrize("row", ROWS, ids=name_row)
def test_row(row: dict[str, Any]) -> None:
    own_hosts = frozenset(row.get("own_origins", ()))
    ignored_hosts = frozenset(row.get("ignored_referrers", ()))
    got = classify(row["url"], row["referrer"], row["rule_set"], own_hosts, ignored_hosts)
    assert msgspec.structs.asdict(got) == row["want"]

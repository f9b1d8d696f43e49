"""docs/operations.md tells every metric that a running server shows, with its type and labels."""

import re

import httpx
from prometheus_client.parser import text_string_to_metric_families

from integration.reads import bearer, wait_for_key
from repo.doc_files import read_table
from support.server_process import ORIGIN, ServerProcess
from support.waiting import wait_until

_PAGE = "docs/operations.md"
_PREFIX = "millimetric_"
_NAME = re.compile(r"(\w+)(?:\{(.*)\})?")
_OWN_LABELS = {"le"}  # of histograms, by nature


def bring_every_outcome(server: ServerProcess) -> None:
    """Have an event rejected and one dropped, and somebody follow; wait until the ledger has the events."""
    keys = server.create_project("metrics")
    wait_for_key(server, keys)
    url = f"{server.base_url}/v1/track"
    httpx.post(url, json={"event": ""}, headers=bearer(keys.secret))
    httpx.post(url, json={"event": "page"}, headers=bearer(keys.public) | {"Origin": ORIGIN, "DNT": "1"})
    with httpx.stream("GET", f"{server.base_url}/v1/tail", headers=bearer(keys.read)) as followed:
        assert followed.status_code == 200
    dropped = f'events_dropped_total{{project="{keys.project_id}"'
    wait_until(lambda: dropped in httpx.get(server.metrics_url).text, "the ledger is written")


def test_the_table_of_metrics_is_what_the_server_shows(server: ServerProcess) -> None:
    bring_every_outcome(server)  # so that labelled metrics have a child
    shown = {}
    for family in text_string_to_metric_families(httpx.get(server.metrics_url).text):
        if family.name.startswith(_PREFIX) and not family.name.endswith("_created"):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = {label for sample in family.samples for label in sample.labels} - _OWN_LABELS
            shown[name] = (family.type, labels)
    told = {}
    for row in read_table(_PAGE, "Metric"):
        match = _NAME.fullmatch(row["Metric"])
        assert match, row["Metric"]
        told[match[1]] = (row["Type"], set(match[2].split(",")) if match[2] else set())
    assert told == shown

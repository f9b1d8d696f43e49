"""docs/operations.md tells every metric that a running server shows, with its type and labels."""

import re

import httpx
from prometheus_client.parser import text_string_to_metric_families

from repo.doc_files import read_table
from support.server_process import ServerProcess

_PAGE = "docs/operations.md"
_PREFIX = "millimetric_"
_NAME = re.compile(r"(\w+)(?:\{(.*)\})?")
_OWN_LABELS = {"le"}  # of histograms, by nature


def test_the_table_of_metrics_is_what_the_server_shows(server: ServerProcess) -> None:
    httpx.get(f"{server.base_url}/v1/stats")  # a call, so that labelled metrics have a child
    shown = {}
    for family in text_string_to_metric_families(httpx.get(f"{server.base_url}/metrics").text):
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

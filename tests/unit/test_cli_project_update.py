"""`millimetric project update`: what it changes, and what it refuses."""

import contextlib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from millimetric_server.cli import main
from millimetric_server.control.records import Project, RateLimit
from millimetric_server.control.store import open_control_store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    assert run(tmp_path, "create", "shop").exit_code == 0
    return tmp_path


def run(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["project", *arguments, "--data-dir", str(folder)])


def find(folder: Path) -> Project:
    with contextlib.closing(open_control_store(f"sqlite:///{folder}/control.db")) as control:
        return control.resolve_project("shop")


def test_rule_set_and_retention(folder: Path) -> None:
    result = run(folder, "update", "shop", "--rule-set", "millimetric-1", "--retention-days", "90")
    assert result.exit_code == 0
    assert "millimetric-1" in result.output
    assert (find(folder).rule_set, find(folder).retention_days) == ("millimetric-1", 90)


def test_rate_limits_of_the_project_name_only_what_differs(folder: Path) -> None:
    run(folder, "update", "shop", "--rate-limits", "track=100/400, batch=off")
    assert find(folder).rate_limits == {"track": RateLimit(100, 400), "batch": None}
    assert "track=100/400, batch=off" in run(folder, "update", "shop").output
    run(folder, "update", "shop", "--rate-limits", "off")
    assert set((find(folder).rate_limits or {}).values()) == {None}
    assert "the server's" in run(folder, "update", "shop", "--rate-limits", "default").output
    assert not find(folder).rate_limits


def test_kept_parameters_replace_those_before_and_can_be_cleared(folder: Path) -> None:
    run(folder, "update", "shop", "--keep-parameter", "Name", "--keep-parameter", "key")
    assert find(folder).kept_parameters == {"name", "key"}
    run(folder, "update", "shop")
    assert find(folder).kept_parameters == {"name", "key"}
    run(folder, "update", "shop", "--keep-parameter", "address")
    assert find(folder).kept_parameters == {"address"}
    run(folder, "update", "shop", "--keep-parameter", "none")
    assert find(folder).kept_parameters == frozenset()


def test_ignored_referrers_replace_those_before_and_can_be_cleared(folder: Path) -> None:
    run(
        folder,
        "update",
        "shop",
        "--ignored-referrers",
        "WWW.Pay.example, login.example.org,b\u00fccher.example,com.acme.wallet",
    )
    hosts = {"pay.example", "login.example.org", "xn--bcher-kva.example", "com.acme.wallet"}
    assert find(folder).ignored_referrers == hosts
    assert run(folder, "update", "shop", "--retention-days", "90").exit_code == 0
    assert find(folder).ignored_referrers == hosts
    run(folder, "update", "shop", "--ignored-referrers", "other.example")
    assert find(folder).ignored_referrers == {"other.example"}
    run(folder, "update", "shop", "--ignored-referrers", "none")
    assert find(folder).ignored_referrers == frozenset()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--rule-set", "best-9"), "standard-2, standard-1, millimetric-1"),
        (("--rate-limits", "query=1/1"), "is not one of track"),
        (("--rate-limits", "track=x"), "must look like"),
        (("--retention-days", "0"), "1 to 36500 days"),
        (("--keep-parameter", "a=b"), "is not the name of a url parameter"),
        (("--keep-parameter", ""), "is not the name of a url parameter"),
        (("--ignored-referrers", "https://pay.example/"), "is not a host: write pay.example.com"),
        (("--ignored-referrers", "*.pay.example"), "it covers its subdomains"),
        (("--ignored-referrers", "pay.example:8443"), "is not a host"),
        (("--ignored-referrers", "pay.example,"), "is not a host"),
        (("--ignored-referrers", ",".join(f"h{number}.example" for number in range(201))), "at most 200"),
    ],
)
def test_what_can_not_be_is_refused_with_what_can(folder: Path, options: tuple[str, str], sentence: str) -> None:
    result = run(folder, "update", "shop", *options)
    assert result.exit_code != 0
    assert sentence in " ".join(result.output.split())
    assert find(folder).rule_set == "standard-2"

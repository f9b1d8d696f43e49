"""project, key and origin: what they print, and that nothing goes wrong with a traceback or a secret."""

import json
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from millimetric_server.cli import main
from millimetric_server.config import Settings
from millimetric_server.control.keys import parse_key, verify_secret
from millimetric_server.control.records import KeyKind
from millimetric_server.control.store import open_control_store
from millimetric_server.server_secrets import load_secrets

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("MILLIMETRIC_DATA_DIR", str(tmp_path))
    return lambda *arguments: CliRunner().invoke(main, arguments)


def create(run: Run, name: str, *more: str) -> dict[str, str]:
    result = run("project", "create", name, "--json", *more)
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


def assert_sentence(result: Result, text: str) -> None:
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert text in result.stderr
    assert "Traceback" not in result.output


def test_a_project_is_made_with_three_keys_that_work(run: Run, tmp_path: Path) -> None:
    made = create(run, "shop", "--origin", "https://Shop.example:443", "--origin", "https://*.shop.example")

    assert list(made) == ["project_id", "public_key", "secret_key", "read_key"]
    settings = Settings(data_dir=str(tmp_path))
    store = open_control_store(settings.resolved_database_url)
    pepper = load_secrets(settings).key_pepper
    stored = {key.prefix: key for key in store.list_keys("shop")}
    for name, kind in (("public_key", "pk"), ("secret_key", "sk"), ("read_key", "rk")):
        parsed = parse_key(made[name])
        assert parsed is not None
        assert parsed.kind == KeyKind(kind)
        assert verify_secret(parsed.secret, stored[parsed.prefix].secret_hash, pepper)
    assert store.list_origins("shop") == ("https://*.shop.example", "https://shop.example")
    store.close()


def test_people_see_the_whole_keys_and_that_it_is_the_only_time(run: Run) -> None:
    output = run("project", "create", "shop [bold]x").stdout
    texts = [word for word in output.split() if parse_key(word)]
    assert [text[:2] for text in texts] == ["pk", "sk", "rk"]
    assert "shown only once" in output
    assert "shop [bold]x" in output


def test_projects_are_listed(run: Run) -> None:
    assert "no project yet" in run("project", "list").stdout
    assert run("project", "list", "--json").stdout == "[]\n"
    made = create(run, "shop", "--origin", "https://shop.example")
    table = run("project", "list").stdout
    assert made["project_id"] in table
    assert "https://shop.example" in table
    (listed,) = json.loads(run("project", "list", "--json").stdout)
    assert listed["name"] == "shop"
    assert listed["origins"] == ["https://shop.example"]
    assert listed["retention_days"] == 365


def test_a_key_lives_and_is_revoked(run: Run) -> None:
    create(run, "shop")
    made = run("key", "create", "--project", "shop", "--kind", "rk", "--env", "test", "--label", "dashboard")
    text = made.stdout.strip()
    parsed = parse_key(text)
    assert parsed is not None
    assert text.startswith("rk_test_")
    assert "only once" in made.stderr

    table = run("key", "list", "--project", "shop").stdout
    assert parsed.prefix in table
    assert "dashboard" in table
    assert parsed.secret not in table

    revoked = run("key", "revoke", parsed.prefix)
    assert revoked.exit_code == 0
    assert f"rk_test_{parsed.prefix}_" in revoked.stdout
    keys = json.loads(run("key", "list", "--project", "shop", "--json").stdout)
    assert [key["prefix"] for key in keys if key["revoked_at"]] == [parsed.prefix]


def test_an_account_key_belongs_to_no_project(run: Run) -> None:
    create(run, "shop")
    made = json.loads(run("key", "create", "--kind", "ak", "--json").stdout)
    assert made["key"].startswith("ak_live_")
    assert made["project_id"] is None
    assert made["prefix"] in run("key", "list").stdout
    assert made["prefix"] not in run("key", "list", "--project", "shop").stdout
    assert_sentence(run("key", "create", "--kind", "ak", "--project", "shop"), "account key")
    assert_sentence(run("key", "create", "--kind", "sk"), "account key")


def test_origins_come_and_go(run: Run) -> None:
    create(run, "shop")
    assert "no page can use the public key" in run("origin", "list", "--project", "shop").stderr
    run("origin", "add", "https://a.example", "--project", "shop")
    assert run("origin", "add", "HTTPS://B.example", "--project", "shop").stdout.split() == [
        "https://a.example",
        "https://b.example",
    ]
    assert run("origin", "remove", "https://a.example", "--project", "shop").stdout.split() == ["https://b.example"]
    assert run("origin", "list", "--project", "shop").stdout.split() == ["https://b.example"]
    assert_sentence(run("origin", "add", "shop.example", "--project", "shop"), "is not an origin")
    assert_sentence(run("origin", "remove", "https://a.example", "--project", "shop"), "not among the origins")


def test_what_cannot_be_done_is_told_in_a_sentence(run: Run) -> None:
    create(run, "shop")
    assert_sentence(run("project", "create", "shop"), "already a project")
    assert_sentence(run("project", "create", "x", "--origin", "nonsense"), "is not an origin")
    assert_sentence(run("key", "list", "--project", "other"), "no project 'other'")
    assert_sentence(run("key", "revoke", "01234567"), "no key")
    assert_sentence(run("project", "list", "--database-url", "mysql://u:sesame@host/x"), "sqlite:///path")


def test_a_project_without_origins_is_told_how_to_add_one(run: Run) -> None:
    assert "millimetric origin add" in run("project", "create", "shop").stdout
    assert "origin add" not in run("project", "create", "b", "--origin", "https://b.example").stdout


def test_no_secret_is_repeated(run: Run) -> None:
    made = create(run, "shop")
    secret = made["secret_key"].rpartition("_")[2]
    for arguments in (
        ("key", "revoke", made["secret_key"]),
        ("key", "list", "--project", made["secret_key"]),
        ("key", "create", "--project", "shop", "--kind", "rk", "--label", made["secret_key"]),
        ("project", "create", made["secret_key"]),
    ):
        result = run(*arguments)
        assert result.exit_code == 1
        assert secret not in result.output


def test_a_setting_that_cannot_be_used_is_told_in_a_sentence(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLIMETRIC_HTTP_PORT", "eighty")
    assert_sentence(run("project", "list"), "MILLIMETRIC_HTTP_PORT must be a whole number")


def test_a_database_that_is_away_is_told_in_a_sentence(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run("project", "list", "--database-url", f"sqlite:///{tmp_path}/file/control.db")
    assert_sentence(result, "millimetric doctor")


def test_a_damaged_secrets_file_makes_no_project(run: Run, tmp_path: Path) -> None:
    (tmp_path / "secrets.json").write_text("{")
    assert_sentence(run("project", "create", "shop"), "restore it from a backup")
    assert json.loads(run("project", "list", "--json").stdout) == []


@pytest.mark.parametrize(
    "command",
    ["", "serve", "quickstart", "project create", "project list", "key create", "key list", "key revoke",
     "origin add", "origin remove", "origin list", "load", "demo", "doctor"],
)  # fmt: skip
def test_every_command_and_option_has_help_with_an_example(run: Run, command: str) -> None:
    output = run(*command.split(), "--help").stdout
    assert "xample" in output or "To begin" in output
    assert "  millimetric " in output
    found: click.Command = main
    for name in command.split():
        assert isinstance(found, click.Group)
        inner = found.get_command(click.Context(found), name)
        assert inner is not None
        found = inner
    for parameter in found.params:
        assert parameter.param_type_name == "argument" or parameter.help, parameter  # type: ignore[attr-defined]

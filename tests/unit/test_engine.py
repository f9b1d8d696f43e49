"""The embedded engine is an extra: who starts without it is told the line that installs it."""

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from millimetric_server.cli import main
from millimetric_server.store.clickhouse import ClickHouse
from millimetric_server.store.engine import ADVICE, EngineMissingError, find_engine_version

_LINE = "pip install --no-deps chdb-core=="


@pytest.fixture
def _no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "chdb", None)  # as if it were not installed


@pytest.mark.usefixtures("_no_engine")
def test_a_store_without_its_engine_says_how_to_install_it_and_makes_no_folder(tmp_path: Path) -> None:
    store = ClickHouse(f"chdb://{tmp_path}/clickhouse", "millimetric")
    with pytest.raises(EngineMissingError, match=_LINE):
        store.open()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("_no_engine")
@pytest.mark.parametrize("command", ["serve", "quickstart"])
def test_a_server_without_its_engine_ends_with_the_line_that_installs_it(tmp_path: Path, command: str) -> None:
    ports = ["--grpc-port", "0", "--http-port", "0", "--metrics-address", "off"]
    ran = CliRunner().invoke(main, [command, *ports], env={"MILLIMETRIC_DATA_DIR": str(tmp_path)})
    assert ran.exit_code == 1
    assert _LINE in ran.output
    assert "--clickhouse-url" in ran.output
    assert "Traceback" not in ran.output


def test_the_advice_names_the_version_that_the_tests_run_on() -> None:
    assert f"Install it: pip install --no-deps chdb-core=={find_engine_version()}." == ADVICE

"""`millimetric quickstart`: the server, a project with fresh keys, and two lines to paste."""

import threading
import time
from typing import TYPE_CHECKING, Any

import click

from millimetric_server.cli.addresses import http_url
from millimetric_server.cli.demo.command import find_or_create_demo
from millimetric_server.cli.demo.http_reads import ReadError, read_json
from millimetric_server.cli.projects.control import open_control, read_pepper
from millimetric_server.cli.serve import run_server
from millimetric_server.cli.settings import SERVER_FLAGS, read_settings, setting_options
from millimetric_server.config import Settings
from millimetric_server.control.records import Environment, KeyKind
from millimetric_server.control.store import ControlStore

if TYPE_CHECKING:
    from millimetric_server.app import Server

_LABEL = "make run"
_ANSWER_TIMEOUT_S = 60.0
_KINDS = (KeyKind.PUBLIC, KeyKind.SECRET, KeyKind.READ)


@click.command()
@setting_options(*SERVER_FLAGS)
def quickstart(**flags: Any) -> None:
    """Run the server with a project to try it out, and print its keys and two curl commands.

    This is `millimetric serve` with project `demo`. A key can't be shown twice, so each start creates new ones and
    revokes those of earlier starts; other keys of the project stay. Use `serve` for anything permanent.

    \b
    Example:
      millimetric quickstart --data-dir ./var
    """
    settings = read_settings(**flags)

    def announce(server: "Server") -> None:
        keys = _renew_keys(flags)
        url = http_url(settings).rpartition(":")[0] + f":{server.http_port}"
        threading.Thread(target=_print_lines, args=(settings, url, keys), daemon=True).start()

    run_server(settings, announce)


def _renew_keys(flags: dict[str, Any]) -> dict[KeyKind, str]:
    with open_control(flags) as (store, settings):
        project_id = find_or_create_demo(store).project_id
        _revoke_former(store, project_id)
        pepper = read_pepper(settings, store)
        return {
            kind: store.create_key(kind, Environment.LIVE, pepper, project=project_id, label=_LABEL).text
            for kind in _KINDS
        }


def _revoke_former(store: ControlStore, project_id: str) -> None:
    for key in store.list_keys(project_id):
        if key.label == _LABEL and key.revoked_at is None:
            store.revoke_key(key.prefix)


def _print_lines(settings: Settings, url: str, keys: dict[KeyKind, str]) -> None:
    """Wait until the server answers, so that the lines work from the moment they are seen."""
    give_up_at = time.monotonic() + _ANSWER_TIMEOUT_S
    while time.monotonic() < give_up_at:
        try:
            read_json(url, "/healthz", timeout_s=5)
        except ReadError:
            time.sleep(0.05)
            continue
        click.echo(render_lines(settings, url, keys))
        return


def render_lines(settings: Settings, url: str, keys: dict[KeyKind, str]) -> str:
    """What a newcomer needs: the keys, one line that tracks, one that counts. Nothing in it is wrapped."""
    return f"""
Millimetric is running at {url} and keeps its data in {settings.data_path}. Press Ctrl-C to stop it.

Project `demo` has these keys until the next start:

  public  {keys[KeyKind.PUBLIC]}
  secret  {keys[KeyKind.SECRET]}
  read    {keys[KeyKind.READ]}

Track an event (202, and the ids under which it is stored):

curl -sS -X POST {url}/v1/track -H 'Authorization: Bearer {keys[KeyKind.SECRET]}' \
-H 'Content-Type: application/json' -H 'Millimetric-Ack: stored' -d '{{"event":"signup"}}' -w '\\n%{{http_code}}\\n'

Count it:

curl -sS '{url}/v1/stats?event=signup' -H 'Authorization: Bearer {keys[KeyKind.READ]}' -w '\\n'

For a month of invented events: `millimetric demo`. To check the installation: `millimetric doctor`.
"""

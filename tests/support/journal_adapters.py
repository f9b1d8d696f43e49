"""The journal's adapters by name, and a process of its own that works with one: for tests of the port.

`python -m support.journal_adapters ADAPTER FOLDER append PREFIX COUNT` appends events one by one and prints each id
once it is acknowledged, with `new` or `known`. `… take NAME ROWS_MAX` leads, takes a block, prints it and waits.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from millimetric_server.enrich.event_row import EventRow
from millimetric_server.journal.blocks import Block
from millimetric_server.journal.entries import NewEvent
from millimetric_server.journal.port import Journal
from millimetric_server.journal.sqlite.journal import SqliteJournal

NOW = 1_790_000_000_000_000
WINDOW_DAYS = 7
LEASE_S = 60.0
_DEFAULTS: dict[str, object] = dict.fromkeys(EventRow.__struct_fields__, "") | {
    "project_id": "prj_a",
    "event": "signup",
    "timestamp": NOW,
    "received_at": NOW,
    "anonymous_id": "device",
    "properties": "{}",
    "is_bot": False,
    "retention_days": 3650,
}


def _open_sqlite(folder: Path, bytes_max: int) -> Journal:
    return SqliteJournal(folder / "journal.db", bytes_max=bytes_max, idempotency_window_days=WINDOW_DAYS)


# A journal that was opened before is opened again by the same folder, also in another process.
ADAPTERS: Mapping[str, Callable[[Path, int], Journal]] = {"sqlite": _open_sqlite}


def open_journal(adapter: str, folder: Path, bytes_max: int = 10**9) -> Journal:
    journal = ADAPTERS[adapter](folder, bytes_max)
    journal.start()
    return journal


def make_event(event_id: str, **values: object) -> NewEvent:
    """An event as a caller sends it, with an id of its own."""
    return NewEvent(EventRow(**(_DEFAULTS | {"event_id": event_id} | values)), b"as sent.")  # type: ignore[arg-type]


def read_ids(block: Block) -> list[str]:
    """The event ids of a block's rows, in their order."""
    place = EventRow.__struct_fields__.index("event_id")
    return [row[place] for entry in block.entries for row in entry.unpack()]


def describe(block: Block) -> dict[str, object]:
    """All that may never change of a block."""
    return {"token": block.token, "entries": [one.entry_id for one in block.entries], "ids": read_ids(block)}


def lead_soon(journal: Journal, name: str, lease_s: float = LEASE_S) -> object:
    """Lead as soon as whoever leads now lets go."""
    while (lead := journal.lead(name, lease_s)) is None:
        time.sleep(0.01)
    return lead


def main() -> None:
    adapter, folder, command, *words = sys.argv[1:]
    journal = open_journal(adapter, Path(folder))
    if command == "append":
        for number in range(int(words[1])):
            event_id = f"{words[0]}{number}"
            (first,) = journal.append([make_event(event_id)]).result(30).firsts
            print(event_id, "new" if first is None else "known", flush=True)
        return
    lead = lead_soon(journal, words[0])
    block = journal.take_block(lead, int(words[1]))  # type: ignore[arg-type]
    print(json.dumps(None if block is None else describe(block)), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()

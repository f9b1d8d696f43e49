"""quickstart, which `make run` is: the printed lines work as pasted."""

import json
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

from integration.cli_process import run_cli, start_cli
from support.server_process import ServerProcess, fast_folder
from support.tools import require_tool
from support.waiting import communicate


def read_lines(process: subprocess.Popen[bytes]) -> str:
    """What it prints, up to its last line."""
    assert process.stdout is not None
    text = ""
    while "millimetric doctor" not in text:
        line = process.stdout.readline().decode()
        assert line, "quickstart ended early"
        text += line
    return text


def end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    communicate(process)


def test_the_printed_lines_track_and_count(tmp_path: Path) -> None:
    require_tool("curl", shutil.which("curl"), "apt-get install curl")
    # Nothing of it is started here: it only names a data folder and free ports.
    place = ServerProcess(data_dir=Path(fast_folder() or tmp_path) / f"quickstart-{tmp_path.name}-{time.time_ns()}")
    keys = []
    try:
        for count in (1, 2):
            process = start_cli(place, "quickstart")
            try:
                text = read_lines(process)
                track, stats = re.findall(r"^curl .*$", text, re.MULTILINE)
                answer = subprocess.check_output(["sh", "-c", track], text=True)
                assert '"ok":true' in answer
                assert answer.splitlines()[-1] == "202"
                counted = subprocess.check_output(["sh", "-c", stats], text=True)
                assert counted == f'{{"rows":[{{"value":{count}}}]}}\n'
            finally:
                end(process)
            keys.append(re.findall(r"[psr]k_live_\w{8}", text))
        assert set(keys[0]).isdisjoint(keys[1])
        listed = json.loads(run_cli(place, "key", "list", "--project", "demo", "--json")[1])
        assert [key["revoked_at"] is None for key in listed] == [False] * 3 + [True] * 3
    finally:
        shutil.rmtree(place.data_dir, ignore_errors=True)

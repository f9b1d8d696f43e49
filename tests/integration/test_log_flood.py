"""What callers do wrong can't flood the log: a flood of bad keys is a few lines with counts, and no key is in them."""

import http.client
import re

from support.server_process import ServerProcess

_SUMMARY = re.compile(r"calls without a valid key: (\d+) more within 10 s \((.*)\)")
_CALLS = 300
_KEY = f"sk_live_0badc0de_{'s' * 43}"
_SENT = (f"Bearer {_KEY}", "Bearer nonsense-of-a-caller", "")


def test_a_flood_of_bad_keys_is_a_few_lines_with_counts() -> None:
    with ServerProcess(environ={"MILLIMETRIC_CLICKHOUSE_URL": "http://127.0.0.1:1"}) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=60)
        refused = 0
        for number in range(_CALLS):
            headers = {"Authorization": sent} if (sent := _SENT[number % 3]) else {}
            connection.request("POST", "/v1/track", b'{"event": "x"}', headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status in (401, 429)  # in the end not even a look at the key
            refused += answer.status == 401
        connection.close()
        server.stop()  # what was only counted is written at the end
        lines = [line for line in server.log.splitlines() if "api_key" in line or "bearer_token" in line]
        summaries = [match for line in lines if (match := _SUMMARY.search(line))]
        assert len(lines) <= 2 + len(summaries)
        assert len(summaries) <= 10
        assert len(lines) - len(summaries) + sum(int(match[1]) for match in summaries) == refused
        told = " ".join(match[2] for match in summaries)
        assert all(f"{reason} " in told for reason in ("invalid_api_key", "malformed_api_key", "missing_bearer_token"))
        assert not [secret for secret in (_KEY, "0badc0de", "nonsense-of-a-caller", "127.0.0.1:1 ") if secret in told]
        assert _KEY not in server.log

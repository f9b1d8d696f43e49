"""What a table of names can't say of another product's files: how an event is named, and what is put together."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

Record = Mapping[str, Any]
Shaped = dict[str, Any]
PAGEVIEW = "$pageview"


def find(record: Any, path: str) -> Any:
    """Find a value by its name or by its path; None where there is none."""
    if isinstance(record, Mapping) and path in record:
        return record[path]
    first, _, rest = path.partition(".")
    if not rest or not isinstance(record, Mapping):
        return None
    return find(record.get(first), rest)


def make_id(*parts: Any) -> str:
    """An event_id from what tells events of a product apart that has no ids."""
    return hashlib.blake2b("\n".join(map(str, parts)).encode(errors="replace"), digest_size=16).hexdigest()


def fix_posthog(shaped: Shaped, _record: Record) -> Shaped:
    """Leave out what is no referrer, and the id that an identified person has twice."""
    if shaped.get("referrer") == "$direct":
        del shaped["referrer"]
    if shaped.get("anonymous_id") == shaped.get("user_id"):  # an identified person has no other id
        shaped.pop("anonymous_id", None)
    return shaped


def fix_segment(shaped: Shaped, record: Record) -> Shaped:
    """Name the event by its type, unless it is a track."""
    kind = str(record.get("type", "track"))
    if kind != "track" or "event" not in shaped:
        shaped["event"] = {"page": PAGEVIEW, "identify": "$identify"}.get(kind, f"${kind}")
    if kind in ("page", "screen") and record.get("name"):
        shaped.setdefault("properties", {}).setdefault("name", record["name"])
    return shaped


def fix_ga4(shaped: Shaped, record: Record) -> Shaped:
    """Take the list of parameters apart."""
    values: dict[str, Any] = {}
    for one in record.get("event_params") or ():
        value = one.get("value") or {}
        values[one.get("key", "")] = next((item for item in value.values() if item is not None), None)
    session = values.pop("ga_session_id", None)
    if session is not None and "anonymous_id" in shaped:
        shaped["session_id"] = f"{shaped['anonymous_id']}-{session}"
    for name, target in (("page_location", "url"), ("page_referrer", "referrer")):
        if value := values.pop(name, None):
            shaped[target] = str(value)
    if properties := {name: value for name, value in values.items() if value is not None}:
        shaped["properties"] = properties
    parts = [
        record.get(name) for name in ("user_pseudo_id", "event_timestamp", "event_name", "event_bundle_sequence_id")
    ]
    shaped["event_id"] = make_id("ga4", *parts, record.get("batch_event_index"), sorted(map(str, values.items())))
    return shaped


def _join_url(host: Any, path: Any, query: Any = "") -> str:
    mark = "?" if query and not str(query).startswith("?") else ""
    return f"https://{host}{path or '/'}{mark}{query or ''}"


def fix_plausible(shaped: Shaped, record: Record) -> Shaped:
    """Put the url and the properties together."""
    tags = {
        name: value
        for name in ("source", "medium", "campaign", "content", "term")
        if (value := record.get(f"utm_{name}"))
    }
    query = urlencode({f"utm_{name}": value for name, value in tags.items()})
    if record.get("hostname"):
        shaped["url"] = _join_url(record["hostname"], record.get("pathname"), query)
    keys, values = record.get("meta.key") or (), record.get("meta.value") or ()
    if isinstance(keys, list) and isinstance(values, list) and keys:
        shaped["properties"] = dict(zip(keys, values, strict=False))
    names = ("user_id", "session_id", "timestamp", "name", "pathname")
    shaped["event_id"] = make_id(
        "plausible", *(record.get(name) for name in names), sorted(zip(keys, values, strict=False))
    )
    return shaped


def fix_umami(shaped: Shaped, record: Record) -> Shaped:
    """Name page views, and put the addresses together."""
    if "event" not in shaped:
        shaped["event"] = PAGEVIEW
    if record.get("hostname") and record.get("url_path"):
        shaped["url"] = _join_url(record["hostname"], record["url_path"], record.get("url_query"))
    if record.get("referrer_domain"):
        shaped["referrer"] = _join_url(record["referrer_domain"], record.get("referrer_path"))
    return shaped


def expand_matomo(record: Record) -> Iterator[Record]:
    """A visit has its actions in a list; the referrer is that of the first one."""
    actions = record.get("actionDetails")
    for number, action in enumerate(actions if isinstance(actions, list) else ()):
        if isinstance(action, Mapping):
            yield {"visit": record, "action": action, "number": number}


_MATOMO_EVENTS = {"action": PAGEVIEW, "search": "search", "download": "download", "outlink": "outlink", "goal": "goal"}


def fix_matomo(shaped: Shaped, record: Record) -> Shaped | None:
    """Name an action of a visit, and give the first one the referrer."""
    visit, action, number = record["visit"], record["action"], record["number"]
    kind = str(action.get("type", "action"))
    shaped["event"] = str(action.get("eventAction") or "event") if kind == "event" else _MATOMO_EVENTS.get(kind, kind)
    shaped["event_id"] = make_id("matomo", visit.get("idSite"), visit.get("idVisit"), action.get("pageId"), number)
    if number == 0 and visit.get("referrerUrl"):
        shaped["referrer"] = str(visit["referrerUrl"])
    return shaped


_ASSET = re.compile(
    r"\.(?:css|js|mjs|map|png|jpe?g|gif|svg|webp|avif|ico|woff2?|ttf|otf|eot|mp4|webm|pdf|xml|txt|json)$", re.IGNORECASE
)
_LINE = re.compile(
    r'(?P<ip>\S+) \S+ \S+ \[(?P<time>[^\]]+)\] "(?P<method>[A-Z]+) (?P<target>\S+)[^"]*" (?P<status>\d{3}) \S+'
    r'(?: "(?P<referrer>(?:[^"\\]|\\.)*)" "(?P<agent>(?:[^"\\]|\\.)*)")?'
)


def parse_log_line(text: str) -> Record | None:
    """Take a line of the common or combined log format apart; None where it is none. A host may stand before it."""
    found = _LINE.search(text)
    if found is None:
        return None
    host = text[: found.start()].split()
    return {**found.groupdict(), **({"host": host[0]} if host else {})}


def fix_access_log(shaped: Shaped, record: Record) -> Shaped | None:
    """Make a page view of the line of a page; None for all else."""
    path, _, query = str(record["target"]).partition("?")
    if record["method"] != "GET" or not "200" <= str(record["status"]) < "400" or _ASSET.search(path):
        return None
    shaped["event"] = PAGEVIEW
    shaped["path"] = path
    if record.get("host"):
        shaped["url"] = _join_url(record["host"], path, query)
    if shaped.get("referrer") == "-":
        del shaped["referrer"]
    shaped["anonymous_id"] = make_id("accesslog", record["ip"], record.get("agent"), str(record["time"])[:11])
    return shaped

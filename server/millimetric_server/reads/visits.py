"""Visits: a session, or several of one visitor where the later ones begin `internal` soon after the one before.

The rows of the table `sessions` are sessions; which of them are one visit is found when it is asked (docs/adr/0024).
"""

from collections.abc import Iterable, Mapping

from millimetric_server.reads.conditions import clamp_time, write_day
from millimetric_server.reads.time_zones import DAY_US
from millimetric_server.store.statements import read_statement

# A visit that lasts longer than this, without a pause of half an hour, may be cut at an end of the range.
_NEAR_DAYS = 7
_NEAR = (
    "(session_day BETWEEN {near_first:Date} AND {near_last:Date} OR session_day = toDate(0) OR session_hash IN "
    "(SELECT session_hash FROM sessions WHERE project_id = {project:String} AND is_stray = 1))"
)
_MATCHED = "SELECT session_hash FROM events WHERE project_id = {project:String} AND %EVENTS%"
# Of an entry: the lengths of source and medium, source and medium (schema/0012).
CHANNEL = (
    "substring(entry, position(entry, '\\0') + 21, 8 + toUInt16OrZero(substring(entry, position(entry, '\\0') + 21, 4))"
    " + toUInt16OrZero(substring(entry, position(entry, '\\0') + 25, 4)))"
)
# What a channel consists of; statements say `source_bytes`, its first four digits.
CHANNEL_PARTS = {"source": "substring(channel, 9, source_bytes)", "medium": "substring(channel, 9 + source_bytes)"}
# What a session's rows are merged to, besides its entry, begin, end and number of events.
FIGURES = {
    "exit": "max(sessions.exit)",
    "visitors": "groupArrayArray(sessions.visitors)",
    "hours": "groupUniqArrayArray(sessions.hours)",
}


def choose_bots(*, include_bots: bool) -> str:
    """The condition on is_bot."""
    return "1" if include_bots else "NOT is_bot"


def build_visits(chosen: str, figures: Iterable[str], *, include_bots: bool) -> str:
    """Build the query for sessions with their visits.

    `chosen` is a query for the hashes of sessions to look at, `figures` what is wanted of FIGURES.
    """
    return (
        read_statement("visits.sessions")
        .replace("%CHOSEN%", chosen)
        .replace("%FIGURES%", "".join(f"{FIGURES[name]} AS {name}, " for name in figures))
        .replace("%NEAR%", _NEAR)
        .replace("%BOTS%", choose_bots(include_bots=include_bots))
    )


def join_visits(events: str, *, include_bots: bool, is_everyone: bool, has_first: bool, is_whole: bool) -> str:
    """Build the join of events to their visits, and with `has_first` to their visitors' first.

    `events` are the conditions for the events in question; if `is_everyone`, that is all of their range. Unless
    `is_whole`, only the visits' entries are wanted.
    """
    if is_whole:
        chosen = _choose(events, _NEAR, is_everyone=is_everyone)
        joins = read_statement("visits.joined")
        joins = joins.replace("%SESSIONS%", build_visits(chosen, ("exit",), include_bots=include_bots))
    else:
        matched = "1" if is_everyone else f"session_hash IN ({_MATCHED.replace('%EVENTS%', events)})"
        chosen = read_statement("visits.of_internal")
        joins = read_statement("visits.entries")
        joins = joins.replace("%SESSIONS%", build_visits(chosen, (), include_bots=include_bots))
        joins = joins.replace("%MATCHED%", matched)
    if has_first:
        chosen = _choose(events, "1", is_everyone=is_everyone)
        joins += "\n" + read_statement("visits.first").replace("%CHOSEN%", chosen)
    return joins.replace("%NEAR%", _NEAR).replace("%BOTS%", choose_bots(include_bots=include_bots))


def build_sessions_of(events: str, *, include_bots: bool) -> str:
    """Build the query for all sessions of the visitors who have such events, with their visits."""
    return build_visits(_choose(events, _NEAR, is_everyone=False), (), include_bots=include_bots)


def _choose(events: str, time: str, *, is_everyone: bool) -> str:
    name = "visits.of_all" if is_everyone else "visits.of_events"
    return read_statement(name).replace("%TIME%", time).replace("%EVENTS%", events)


def begin_near(from_us: int) -> int:
    """When sessions may begin that belong to visits of a range."""
    return max(clamp_time(from_us) - _NEAR_DAYS * DAY_US, 0)


def bound_visits(from_us: int, to_us: int) -> Mapping[str, object]:
    """The parameters of such a query: the days in which sessions of the range's visits may lie."""
    return {"near_first": write_day(begin_near(from_us)), "near_last": write_day(to_us + _NEAR_DAYS * DAY_US)}

"""Which user agents are bots: the patterns of data/bots.toml and of the package crawler-user-agents."""

import re
import tomllib
from collections.abc import Callable
from enum import Enum
from functools import cache
from pathlib import Path

from crawleruseragents import CRAWLER_USER_AGENTS_DATA

from millimetric_server.enrich.pattern_table import compile_patterns

_TABLES = tomllib.loads((Path(__file__).parent / "data" / "bots.toml").read_text("utf-8"))
_REPLACED: dict[str, str] = _TABLES["replaced"]
# An Android device's model and build, with the locale before them: `; en-US; ViewSonic A8+ Build/JLS36C`.
_remove_models = re.compile(r"(Android [\d.]+; )(?:[a-z]{2}(?:[-_]\w{2,4})*; )?[^;)]*", re.IGNORECASE).sub


class Verdict(Enum):
    """What an agent's text says of the one behind it."""

    PROGRAM = "program"  # that names itself alone: its device is no visitor's
    BOT = "bot"
    PERSON = "person"
    UNKNOWN = "unknown"


def judge_bot(user_agent: str) -> Verdict:
    """Tell whether a program or a person is behind an agent. Text without lone surrogates, a few hundred characters.

    A proxy's lower-cased agent reads the same. The model and the build of an Android device count for nothing.
    """
    text = _remove_models(r"\1", user_agent) if "ndroid" in user_agent else user_agent
    verdict = _compile(ignore_case=False)(text)
    if verdict is Verdict.UNKNOWN and (text.startswith("mozilla/") or text.islower()):
        return _compile(ignore_case=True)(text)
    return verdict


@cache
def _compile(*, ignore_case: bool) -> Callable[[str], Verdict]:
    """Compile all patterns in the order in which they count; this takes 60 ms, which an import need not wait for."""
    verdicts = {
        Verdict.PROGRAM: _flatten(_TABLES["programs"]),
        Verdict.BOT: _flatten(_TABLES["tools"]),
        Verdict.PERSON: _flatten(_TABLES["people"]),
    }
    table = {verdict.value: patterns for verdict, patterns in verdicts.items()}
    crawlers = [_REPLACED.get(crawler["pattern"], crawler["pattern"]) for crawler in CRAWLER_USER_AGENTS_DATA]
    table["crawlers"] = [pattern for pattern in crawlers if pattern]
    find_name = compile_patterns(table | _TABLES["forms"], ignore_case=ignore_case)
    names = dict.fromkeys(["crawlers", *_TABLES["forms"]], Verdict.BOT)
    names |= {verdict.value: verdict for verdict in verdicts} | dict.fromkeys(("", "apps", "people"), Verdict.UNKNOWN)
    return lambda text: names[find_name(text)]


def _flatten(table: dict[str, list[str]]) -> list[str]:
    return [pattern for patterns in table.values() for pattern in patterns]

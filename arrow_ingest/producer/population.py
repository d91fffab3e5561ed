"""A seed in; users, pages and ways through the site out: the pools that every generated batch draws from.

Properties are kept as fragments of JSON text, so that a row's properties are put together by joining strings.
"""

import json
from dataclasses import dataclass
from random import Random
from typing import Any, Final, Self

import pyarrow as pa

from arrow_ingest.producer import vocabulary as words

USERS: Final = 2_000
PAGES: Final = 240
ELEMENTS: Final = 56
SCRIPTS: Final = 256
TEAMS: Final = 12

EVENTS: Final = (words.PAGEVIEW, words.AUTOCAPTURE, words.IDENTIFY, words.PAGELEAVE, *words.CUSTOM_EVENTS)
"""Names of events by their number in a script."""

_PAGEVIEW, _AUTOCAPTURE, _IDENTIFY, _PAGELEAVE, _FIRST_CUSTOM = range(5)


@dataclass(frozen=True, slots=True)
class Script:
    """What one session does: four columns of equal length, in the order of time.

    Args:
        events: numbers into :data:`EVENTS`.
        pages: numbers of pages.
        elements: numbers of elements; None unless the event is an autocapture.
        offsets_ms: milliseconds since the session's start, ascending.
    """

    events: tuple[int, ...]
    pages: tuple[int, ...]
    elements: tuple[int | None, ...]
    offsets_ms: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Population:
    """Users, pages, elements and scripts of one seed.

    Args:
        distinct_ids: string per user.
        team_ids: int64 per user.
        user_properties: string per user, the opening of a JSON object.
        page_properties: string per page, the middle of a JSON object.
        event_properties: string per event of :data:`EVENTS`, the end of a JSON object up to the insert id's value.
        elements_chains: string per element.
        scripts: ways through the site.
    """

    distinct_ids: pa.Array
    team_ids: pa.Array
    user_properties: pa.Array
    page_properties: pa.Array
    event_properties: pa.Array
    elements_chains: pa.Array
    scripts: tuple[Script, ...]

    @classmethod
    def of(cls, seed: int) -> Self:
        """The population of a seed; the same on every machine."""
        rng = Random(f"population {seed}")  # noqa: S311 - reproducible on purpose
        return cls(
            distinct_ids=pa.array([uuid_text(rng.randbytes(16).hex()) for _ in range(USERS)]),
            team_ids=pa.array([1 + skewed(rng, TEAMS) for _ in range(USERS)], pa.int64()),
            user_properties=pa.array(["{" + _fragment(_user(rng)) for _ in range(USERS)]),
            page_properties=pa.array(["," + _fragment(_page(number)) for number in range(PAGES)]),
            event_properties=pa.array(["," + _fragment(_event(name)) + ',"$insert_id":"' for name in EVENTS]),
            elements_chains=pa.array([_elements_chain(number) for number in range(ELEMENTS)]),
            scripts=tuple(_script(rng) for _ in range(SCRIPTS)),
        )


def session_properties(rng: Random) -> str:
    """One session's part of the properties, the middle of a JSON object."""
    session = uuid_text(rng.randbytes(16).hex())
    referrer, source, medium, campaign = rng.choice(words.CAMPAIGNS)
    utm = f',"utm_source":"{source}","utm_medium":"{medium}","utm_campaign":"{campaign}"' if source else ""
    return f',"$session_id":"{session}","$referrer":"{referrer}"{utm}'


def uuid_text(digits: str) -> str:
    """32 hexadecimal digits as the text of a version 4 UUID.

    >>> uuid_text("0123456789abcdef0123456789abcdef")
    '01234567-89ab-4def-a123-456789abcdef'
    """
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:32]}"


def skewed(rng: Random, count: int) -> int:
    """A number below ``count``; small ones are the more frequent."""
    return int(count * rng.random() ** 2)


def _fragment(properties: dict[str, Any]) -> str:
    return json.dumps(properties, ensure_ascii=False, separators=(",", ":"))[1:-1]


def _user(rng: Random) -> dict[str, Any]:
    os, os_version, browser, browser_version, device_type, width, height, agent = rng.choice(words.DEVICES)
    country_code, city, timezone, language = rng.choice(words.PLACES)
    mobile = "Mobile " if device_type == "Mobile" else ""
    return {
        "$os": os,
        "$os_version": os_version,
        "$browser": browser,
        "$browser_version": browser_version,
        "$device_type": device_type,
        "$raw_user_agent": f"Mozilla/5.0 {agent.format(browser_version, mobile)}",
        "$screen_width": width,
        "$screen_height": height,
        "$viewport_width": width - rng.randrange(60),
        "$viewport_height": height - rng.randrange(90, 260),
        "$lib": "web",
        "$lib_version": "1.176.0",
        "$device_id": uuid_text(rng.randbytes(16).hex()),
        "$browser_language": language,
        "$timezone": timezone,
        "$geoip_country_code": country_code,
        "$geoip_city_name": city,
    }


def _page(number: int) -> dict[str, Any]:
    path, title = (text.format(number) for text in words.SECTIONS[number % len(words.SECTIONS)])
    return {
        "$current_url": f"https://{words.HOST}{path}",
        "$host": words.HOST,
        "$pathname": path.partition("?")[0],
        "title": f"{title} - Example",
    }


def _event(name: str) -> dict[str, Any]:
    own: dict[str, dict[str, Any]] = {
        words.AUTOCAPTURE: {"$event_type": "click", "$ce_version": 1},
        words.IDENTIFY: {"$user_id": None, "$process_person_profile": True},
        words.PAGELEAVE: {"$prev_pageview_last_scroll_percentage": 0.73, "$prev_pageview_duration": 41.3},
    }
    return own.get(name, {"$configured_session_timeout_ms": 1_800_000})


def _elements_chain(number: int) -> str:
    tag, classes, text = words.CONTROLS[number % len(words.CONTROLS)]
    return (
        f'{tag}.{".".join(classes.split())}:attr__class="{classes}"attr__data-attr="control-{number}"'
        f'nth-child="{1 + number % 5}"nth-of-type="1"text="{text}";'
        'div.Navigation3000__scene:attr__class="Navigation3000__scene"nth-child="2"nth-of-type="2";'
        'main:nth-child="3"nth-of-type="1"'
    )


def _script(rng: Random) -> Script:
    steps: list[tuple[int, int, int | None, int]] = []
    elapsed_ms = 0
    for visit in range(1 + skewed(rng, 9)):
        page = skewed(rng, PAGES)
        for event in _visit(rng, first=visit == 0):
            element = rng.randrange(ELEMENTS) if event == _AUTOCAPTURE else None
            steps.append((event, page, element, elapsed_ms))
            elapsed_ms += rng.randrange(200, 30_000)
    events, pages, elements, offsets_ms = zip(*steps, strict=True)
    return Script(events, pages, elements, offsets_ms)


def _visit(rng: Random, *, first: bool) -> list[int]:
    events = [_PAGEVIEW]
    if first and rng.random() < 0.3:
        events.append(_IDENTIFY)
    events += [_AUTOCAPTURE] * skewed(rng, 6)
    if rng.random() < 0.25:
        events.append(rng.randrange(_FIRST_CUSTOM, len(EVENTS)))
    return [*events, _PAGELEAVE]

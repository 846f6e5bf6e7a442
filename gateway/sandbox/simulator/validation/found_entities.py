"""Finds the entities that Telegram detects: links, mentions, commands, phone numbers.

The rules are those of TDLib (MessageEntity.cpp: find_entities); tests compare the
results. Known differences: only country domains and the most common other top-level
domains are known, so that links to rare ones without a protocol are not found;
addresses without a space between them may be split differently; and phone numbers,
which Telegram's servers find by unpublished rules, require a plus sign.
"""

import re
from collections.abc import Callable, Iterable, Iterator

from gateway.sandbox.simulator.validation.markup import Entity, utf16_length

_Found = tuple[int, int, str]
"""Start and end in code points, and type."""

_SEPARATORS = r"\s\u2000-\u200b\u200e\u200f\u2016-\u206f"
_PATH = rf"[^{_SEPARATORS}<>\"\u00ab\u00bb]*"
_DOMAIN = rf"(?:[A-Za-z0-9_~-]|[^\x00-\xbf{_SEPARATORS}])"
_USER = rf"[^{_SEPARATORS}/\[\]{{}}()'`<>\"@\u00ab\u00bb]"
_NAME = r"[A-Za-z0-9_]"
_PORT = r"(?:6553[0-5]|655[0-2]\d|65[0-4]\d\d|6[0-4]\d{3}|[1-5]\d{4}|[1-9]\d{0,3})"
_TRAILING = ".:;,('?!`"
"""Characters that end a sentence rather than a path."""

_MENTION = re.compile(rf"(?<!\w)@({_NAME}{{2,32}}+)(?!\w)")
_COMMAND = re.compile(
    rf"(?<![\w/<>])/{_NAME}{{1,64}}+(?:@{_NAME}{{3,32}}+)?+(?![\w@/<>])"
)
_CASHTAG = re.compile(rf"\$(?:1INCH|[A-Z]{{1,8}}+)(?:@{_NAME}{{3,32}}+)?+")
_AFTER_TAG = re.compile(rf"@{_NAME}{{3,32}}+")
_APP_LINK = re.compile(
    rf"(?:tg|ton|tonsite)://[A-Za-z0-9_-]{{1,253}}+(?P<path>[/?#]{_PATH})?",
    re.IGNORECASE,
)
_LINK = re.compile(
    rf"""(?:(?<![A-Za-z0-9+-])(?P<protocol>[A-Za-z0-9+-]++)://)?
    (?:(?<!{_USER})(?P<user>(?:(?!\.){_USER})*+(?:\.(?:{_DOMAIN}|\.)*+)?)@)?
    (?P<domain>(?<!{_DOMAIN})(?<!\.){_DOMAIN}*+\.(?:{_DOMAIN}|\.)*+(?!@))
    (?P<port>:0*{_PORT}(?![0-9]))?
    (?P<path>[/?\#]{_PATH})?""",
    re.VERBOSE,
)
_EMAIL = re.compile(
    r"(?:[a-z0-9_-]{0,26}[.+]){0,10}[a-z0-9_-]{1,35}"
    r"@(?:[a-z0-9](?:[a-z0-9_-]{0,28}[a-z0-9])?\.){1,6}[a-z]{2,8}",
    re.IGNORECASE,
)
_PHONE = re.compile(r"(?<![\w+])\+[0-9](?:[ -]?\(?[0-9]\)?){6,14}(?![\w])")
_SHORT_NAMES = frozenset({"gif", "nft", "pic", "ufc", "vid"})
"""The existing @names of fewer than four characters."""

_NAMES_OF_COUNTRIES = """
    ac ad ae af ag ai al am ao aq ar as at au aw ax az ba bb bd be bf bg bh bi bj bm
    bn bo br bs bt bv bw by bz ca cc cd cf cg ch ci ck cl cm cn co cr cu cv cw cx cy
    cz de dj dk dm do dz ec ee eg er es et eu fi fj fk fm fo fr ga gb gd ge gf gg gh
    gi gl gm gn gp gq gr gs gt gu gw gy hk hm hn hr ht hu id ie il im in io iq ir is
    it je jm jo jp ke kg kh ki km kn kp kr kw ky kz la lb lc li lk lr ls lt lu lv ly
    ma mc md me mg mh mk ml mm mn mo mp mq mr ms mt mu mv mw mx my mz na nc ne nf ng
    ni nl no np nr nu nz om pa pe pf pg ph pk pl pm pn pr ps pt pw py qa re ro rs ru
    rw sa sb sc sd se sg sh si sj sk sl sm sn so sr st su sv sx sy sz tc td tf tg th
    tj tk tl tm tn to tr tt tv tw tz ua ug uk us uy uz va vc ve vg vi vn vu wf ws ye
    yt za zm zw
"""
_COUNTRIES = frozenset(_NAMES_OF_COUNTRIES.split())
_OTHER_NAMES = """
    aero agency app art asia biz blog cafe cat chat city club com company coop dev
    digital edu email events finance fun games gov group info int jobs life link
    live ltd media mil mobi money museum name net news ninja online org page photo
    photos plus post press pro review rocks run school services shop site social
    solutions space store studio style support systems tech tel team today tools top
    travel tube video vip wiki win work works world xyz zone
"""
_GENERIC = frozenset(_OTHER_NAMES.split())


def find_entities(text: str) -> list[Entity]:
    """Return the entities that Telegram detects in a text, in order.

    They do not overlap. Positions and lengths count UTF-16 code units.
    """
    found = sorted(
        [each for find in _FINDERS for each in find(text)],
        key=lambda each: (each[0], -each[1]),
    )
    entities: list[Entity] = []
    units, place, end_of_last = 0, 0, 0
    for start, end, kind in found:
        if start < end_of_last:
            continue
        end_of_last = end
        units += utf16_length(text[place:start])
        length = utf16_length(text[start:end])
        entities.append({"offset": units, "length": length, "type": kind})
        units, place = units + length, end
    return entities


def add_found(text: str, given: list[Entity]) -> list[Entity]:
    """Add the detected entities of a text to those that a bot passed with it.

    Where a given entity allows no overlap, such as code and links, nothing is added.
    """
    whole = [each for each in given if each["type"] not in _OVERLAPPED]
    new = [
        each
        for each in find_entities(text)
        if not any(_overlap(each, other) for other in whole)
    ]
    # Of two entities with the same start, the longer one contains the other.
    return sorted(given + new, key=lambda each: (each["offset"], -each["length"]))


_OVERLAPPED = frozenset(
    {
        "bold",
        "italic",
        "underline",
        "strikethrough",
        "spoiler",
        "blockquote",
        "expandable_blockquote",
    }
)


def _overlap(one: Entity, other: Entity) -> bool:
    return bool(
        one["offset"] < other["offset"] + other["length"]
        and other["offset"] < one["offset"] + one["length"]
    )


def _find_mentions(text: str) -> Iterator[_Found]:
    for found in _MENTION.finditer(text):
        if len(found[1]) > 3 or found[1].lower() in _SHORT_NAMES:
            yield *found.span(), "mention"


def _find_commands(text: str) -> Iterator[_Found]:
    for found in _COMMAND.finditer(text):
        yield *found.span(), "bot_command"


def _find_hashtags(text: str) -> Iterator[_Found]:
    place = text.find("#")
    while place >= 0:
        end = place + 1
        while end < len(text) and _is_tag_letter(text[end]):
            end += 1
        tag = text[place + 1 : min(end, place + 257)]
        inside = place > 0 and _is_tag_letter(text[place - 1])
        if not inside and any(map(str.isalpha, tag)):
            name = _AFTER_TAG.match(text, end) if len(tag) < 257 else None
            after = name.end() if name else end
            if text[after : after + 1] != "#":
                yield place, name.end() if name else place + 1 + len(tag), "hashtag"
        place = text.find("#", end)


def _is_tag_letter(character: str) -> bool:
    """Return whether a hashtag may contain a character, unlike numbers such as ²."""
    return (
        character in "_\u200c\u00b7"
        or "\u0d80" <= character <= "\u0dff"
        or character.isalpha()
        or character.isdecimal()
    )


def _find_cashtags(text: str) -> Iterator[_Found]:
    for found in _CASHTAG.finditer(text):
        start, end = found.span()
        beside = text[max(start - 1, 0) : start] + text[end : end + 1]
        if not any(each == "$" or _is_tag_letter(each) for each in beside):
            yield start, end, "cashtag"


def _find_phones(text: str) -> Iterator[_Found]:
    for found in _PHONE.finditer(text):
        yield *found.span(), "phone_number"


def _find_app_links(text: str) -> Iterator[_Found]:
    for found in _APP_LINK.finditer(text):
        yield found.start(), found.start() + len(_shown(found)), "url"


def _shown(found: re.Match[str]) -> str:
    """Strip the end of the sentence, and a # without a fragment."""
    shown = found[0].rstrip(_TRAILING)
    path = (found["path"] or "").rstrip(_TRAILING)
    return shown[:-1] if path == "#" else shown


def _find_links(text: str) -> Iterator[_Found]:
    """Find links, with and without a protocol, and email addresses."""
    place, rest = 0, text
    while found := _LINK.search(rest):
        start, before = place + found.start(), rest[: found.start()]
        # The rest is searched without its context.
        place, rest = place + found.end(), rest[found.end() :]
        if found["user"] is not None and set(found["user"] or "#") & {"?", "#"}:
            continue  # no user, or the end of a path or of a tag
        shown = _without_end(_shown(found))
        protocol = _known_protocol(found["protocol"])
        if found["protocol"]:
            if not protocol:
                continue
            cut = len(found["protocol"]) - len(protocol)
            shown, start = shown[cut:], start + cut
        elif _is_inside(before):
            continue
        has_more = found["port"] or found["path"]
        domain = found["domain"] if has_more else found["domain"].rstrip(".")
        address = shown.removeprefix("mailto:")
        if _EMAIL.fullmatch(address):
            yield start + len(shown) - len(address), start + len(shown), "email"
        elif _is_domain(domain, has_protocol=bool(protocol)):
            yield start, start + len(shown), "url"


def _known_protocol(given: str | None) -> str:
    """Return the protocol at the end of the text before "://", or ""."""
    name = (given or "").lower()
    if name.endswith("https"):
        return name[-5:]
    if name.endswith("http") and name != "shttp":
        return name[-4:]
    if name.endswith("ftp") and name not in {"tftp", "sftp"}:
        return name[-3:]
    return "tonsite" if name.endswith("tonsite") else ""


def _is_inside(before: str) -> bool:
    """Return whether the position is within a word, a path or a tag."""
    return bool(re.match(r"[\w/#@]", before[-1:]))


def _without_end(link: str) -> str:
    """Strip brackets that were opened before the link, and the end of the sentence."""
    open_brackets = {"(": 0, "[": 0, "{": 0}
    closing = {")": "(", "]": "[", "}": "{"}
    for place, character in enumerate(link):
        if character in open_brackets:
            open_brackets[character] += 1
        elif character in closing:
            open_brackets[closing[character]] -= 1
            if open_brackets[closing[character]] < 0:
                link = link[:place]
                break
    return link.rstrip(_TRAILING)


def _is_domain(domain: str, *, has_protocol: bool) -> bool:
    parts = domain.split(".")
    if len(parts) < 2 or any(
        not 1 <= len(part.encode()) <= 63 or part.endswith("-") for part in parts
    ):
        return False
    if all(part.isascii() and part.isdecimal() for part in parts):
        return len(parts) == 4 and all(
            int(part) < 256 and str(int(part)) == part for part in parts
        )
    *_, second, last = parts
    if len(last) < 2 or "_" in second:
        return False
    if last.startswith("xn--"):
        return last[4:].isalnum() and len(last) > 5
    if "_" in last or "-" in last:
        return False
    return has_protocol or last.lower() in _COUNTRIES or last.lower() in _GENERIC


_FINDERS: tuple[Callable[[str], Iterable[_Found]], ...] = (
    _find_mentions,
    _find_commands,
    _find_hashtags,
    _find_cashtags,
    _find_phones,
    _find_app_links,
    _find_links,
)

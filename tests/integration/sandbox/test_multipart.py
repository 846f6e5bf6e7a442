"""Forms are read as TDLib's HttpReader.cpp reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sandbox.simulator.multipart import InvalidForm, Part, read_form
from tests.integration.sandbox.bot import TOKEN, Bot

BOUNDARY = "----x"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"


def form(disposition: str, content: str = "abc", *, end: str = "--") -> bytes:
    """Make a form of one field."""
    header = f"Content-Disposition: {disposition}"
    return (
        f"--{BOUNDARY}\r\n{header}\r\n\r\n{content}\r\n--{BOUNDARY}{end}\r\n".encode()
    )


def fields(body: bytes, content_type: str = CONTENT_TYPE) -> list[Part]:
    """Read all fields of a form."""
    return list(read_form(content_type, body))


@pytest.mark.parametrize(
    ("disposition", "name", "file_name"),
    [
        ('form-data; name="a"', "a", None),
        ("form-data; name=a", "a", None),
        ('form-data; name="a"; filename="b.txt"', "a", "b.txt"),
        ('form-data;name="a";filename=a b.txt', "a", "a b.txt"),
        ("form-data; name=a; filename=a b.txt;", "a", "a b.txt"),
        ('form-data; name="a"; filename="a%20b;\\"c\\\\.txt"', "a", 'a b;"c\\.txt'),
        ('form-data; name="a"; filename=""', "a", ""),
        ('form-data; name="a"; filename=', "a", ""),
        ("form-data; name=\"a\"; filename*=UTF-8''b", "a", None),
        ('form-data; name="a"; filename="Ü 文.pdf"', "a", "Ü 文.pdf"),
        ('form-data; name = "a" ; filename = b ', "a", "b"),
        ('form-data; name="a"; other ; filename="b"', "a", None),
    ],
)
def test_names_are_read_leniently(
    disposition: str, name: str, file_name: str | None
) -> None:
    """With and without quotes, escapes and percent signs."""
    (part,) = fields(form(disposition))
    assert (part.name, part.file_name, part.content) == (name, file_name, b"abc")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (form('form-data; name="a'), "unclosed quoted string"),
        (form('form-data; name="a" filename="b"'), "Content-Disposition"),
        (form("attachment; name=a"), "expected form-data content disposition"),
        (form("form-data; name="), "field name in multipart/form-data not found"),
        (form("form-data"), "field name in multipart/form-data not found"),
        (form("form-data; name=a", end=""), "unexpected end"),
        (form("form-data; name=a")[:40], "unexpected end"),
        (f"--{BOUNDARY}\r\n\r\nabc".encode(), "headers .* are empty"),
        (f"--{BOUNDARY}\r\nodd\r\n\r\nabc\r\n--{BOUNDARY}--".encode(), "can't parse"),
        (b"", "not found"),
    ],
)
def test_what_cannot_be_read_is_one_clear_reason(body: bytes, reason: str) -> None:
    with pytest.raises(InvalidForm, match=reason):
        fields(body)


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=" + "x" * 71,
    ],
)
def test_a_form_needs_a_boundary(content_type: str) -> None:
    """Of 1 to 70 characters."""
    with pytest.raises(InvalidForm, match="boundary"):
        fields(form("form-data; name=a"), content_type)


def test_a_boundary_may_have_quotes_and_company() -> None:
    """As browsers and mailers write it."""
    content_type = f'multipart/form-data; boundary="{BOUNDARY}"; charset=utf-8'
    assert len(fields(form("form-data; name=a"), content_type)) == 1


@given(st.lists(st.tuples(st.text("ab", min_size=1), st.binary()), min_size=1))
def test_every_content_is_read_whole(given_fields: list[tuple[str, bytes]]) -> None:
    """Whatever bytes it is made of, as long as the boundary is not among them."""
    boundary = "0123456789abcdef" * 4
    body = b""
    for name, content in given_fields:
        header = f'Content-Disposition: form-data; name="{name}"; filename="x"'
        body += f"--{boundary}\r\n{header}\r\n\r\n".encode() + content + b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    read = fields(body, f"multipart/form-data; boundary={boundary}")
    assert [(part.name, part.content) for part in read] == given_fields


@given(st.binary(), st.text(max_size=100))
def test_no_body_makes_another_error(body: bytes, content_type: str) -> None:
    for text in (content_type, CONTENT_TYPE):
        try:
            fields(body, text)
        except InvalidForm:
            continue


async def test_a_file_name_without_quotes_is_taken(bot: Bot) -> None:
    """Clients exist that send it so, with spaces in it."""
    parts = form("form-data; name=chat_id", "7", end="\r\n")[: -len("\r\n")]
    parts = parts[: -len(f"--{BOUNDARY}\r\n")]
    body = parts + form("form-data; name=document; filename=a b.txt", "hello")
    headers = {"Content-Type": CONTENT_TYPE}
    url = f"{bot.url}/bot{TOKEN}/sendDocument"
    async with bot.session.post(url, data=body, headers=headers) as response:
        answer = await response.json()
    assert response.status == 200, answer
    document = answer["result"]["document"]
    assert (document["file_name"], document["file_size"]) == ("a b.txt", 5)


@pytest.mark.parametrize(
    ("content_type", "body", "encoding"),
    [
        (CONTENT_TYPE, b"no form", None),
        ("multipart/form-data", b"", None),
        ("application/json", b'{"text": "\xff"}', None),
        ("application/json", b"[" * 100_000, None),
        ("application/json", b"no gzip", "gzip"),
        ("application/x-www-form-urlencoded; charset=odd", b"text=%FF&\xff", None),
        ("text/plain", b"text=x", None),
    ],
)
async def test_no_body_breaks_the_server(
    bot: Bot, content_type: str, body: bytes, encoding: str | None
) -> None:
    """The answer is a 400 that says what is wrong."""
    headers = {"Content-Type": content_type}
    if encoding:
        headers["Content-Encoding"] = encoding
    url = f"{bot.url}/bot{TOKEN}/sendMessage"
    async with bot.session.post(url, data=body, headers=headers) as response:
        answer = await response.json()
    assert (response.status, answer["error_code"]) == (400, 400)
    assert answer["description"].startswith("Bad Request: ")


async def test_the_query_wins_over_the_body(bot: Bot) -> None:
    """The server takes the first of two values, and reads the query first."""
    url = f"{bot.url}/bot{TOKEN}/sendMessage?chat_id=7&text=query"
    body = {"text": "body"}
    async with (
        bot.session.post(url, json=body) as by_json,
        bot.session.post(url, data=body) as by_form,
    ):
        for response in (by_json, by_form):
            assert (await response.json())["result"]["text"] == "query"

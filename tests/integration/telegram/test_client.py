"""Calls of the Bot API over real HTTP: repeated where safe, refused in our words."""

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from gateway.domain.bot_api_call import Upload
from gateway.domain.errors import (
    BotApiError,
    BotApiUnavailable,
    CallRejected,
    InvalidBotToken,
    RecipientBlocked,
    RejectedPart,
)
from gateway.sandbox.server import Simulator
from gateway.telegram.bot_api.client import BotApiClient, open_bot_api
from gateway.telegram.bot_api.responses import ApiResponse, build_error, parse_response
from tests.support.fakes import FakeClock
from tests.support.waiting import LIMIT, wait_until

TOKEN = "4711:AA-secret-of-this-bot"
SECRET = "secret-of-this-bot"
HELLO = {"chat_id": 1, "text": "Hello"}


class Naps:
    """Sleeps that take no time and are remembered, or wait until they are allowed."""

    def __init__(self, clock: FakeClock) -> None:
        self.seconds: list[float] = []
        self.allowed = asyncio.Event()
        self.allowed.set()
        self._clock = clock

    async def __call__(self, seconds: float) -> None:
        """Sleep."""
        self.seconds.append(seconds)
        await self.allowed.wait()
        self._clock.move(seconds)


@pytest.fixture
def simulator() -> Simulator:
    """Return a Bot API that is not serving yet."""
    return Simulator(TOKEN)


@pytest.fixture
async def url(simulator: Simulator) -> AsyncIterator[str]:
    """Serve the Bot API."""
    async with simulator.serve() as url:
        yield url


@pytest.fixture
def clock() -> FakeClock:
    """Return a clock that only sleeping moves."""
    return FakeClock()


@pytest.fixture
async def naps(clock: FakeClock) -> Naps:
    """Return sleeps that take no time."""
    return Naps(clock)


@pytest.fixture
async def api(url: str, clock: FakeClock, naps: Naps) -> AsyncIterator[BotApiClient]:
    """Yield a client of the simulator."""
    async with open_bot_api(TOKEN, url, uptime=clock.uptime, sleep=naps) as api:
        yield api


async def test_a_call_gives_the_result(api: BotApiClient, simulator: Simulator) -> None:
    text = 'ä \U0001f642 " \\ \n.'
    message = await api.call("sendMessage", {"chat_id": -(2**51), "text": text})
    assert message["text"] == text
    assert simulator.messages(-(2**51)) == [message]


@pytest.mark.parametrize(
    ("status", "description", "fault"),
    [
        (400, "Bad Request: chat not found", RejectedPart.OTHER),
        (400, "Bad Request: message to edit not found", RejectedPart.EDIT),
        (400, "Bad Request: message can't be edited", RejectedPart.EDIT),
        (
            400,
            "Bad Request: there is no text in the message to edit",
            RejectedPart.EDIT,
        ),
        (400, "Bad Request: MESSAGE_ID_INVALID", RejectedPart.EDIT),
        (400, "Bad Request: message to be replied not found", RejectedPart.REPLY),
        (400, "Bad Request: message thread not found", RejectedPart.TOPIC),
        (400, "Bad Request: TOPIC_DELETED", RejectedPart.TOPIC),
        (
            400,
            'Bad Request: Can\'t parse entities: Unsupported start tag "button" at 0',
            RejectedPart.FORMAT,
        ),
        (400, "Bad Request: text must be non-empty", RejectedPart.OTHER),
        (400, "Bad Request: message is too long", RejectedPart.OTHER),
        (400, "Bad Request: reply markup is too long", RejectedPart.KEYBOARD),
        (400, "Bad Request: BUTTON_DATA_INVALID", RejectedPart.KEYBOARD),
        (
            400,
            "Bad Request: query is too old and response timeout",
            RejectedPart.TOO_LATE,
        ),
        (400, "Bad Request: query ID is invalid", RejectedPart.TOO_LATE),
        (400, "Bad Request: have no write access to the chat", RejectedPart.OTHER),
        (400, "Bad Request: failed to get HTTP URL content", RejectedPart.MEDIA),
        (
            400,
            "Bad Request: wrong file identifier/HTTP URL specified",
            RejectedPart.MEDIA,
        ),
        (400, "Bad Request: PHOTO_INVALID_DIMENSIONS", RejectedPart.MEDIA),
        (404, "Not Found: method not found", RejectedPart.OTHER),
        (409, "Conflict: terminated by other setWebhook", RejectedPart.OTHER),
        (413, "Request Entity Too Large", RejectedPart.OTHER),
        (421, "Misdirected Request: the server doesn't serve this", RejectedPart.OTHER),
    ],
)
async def test_a_refusal_says_what_was_at_fault(
    api: BotApiClient,
    simulator: Simulator,
    status: int,
    description: str,
    fault: RejectedPart,
) -> None:
    """It is final: the call is not repeated, and the token is fine."""
    simulator.fail(status=status, description=description)
    with pytest.raises(CallRejected) as caught:
        await api.call("sendMessage", HELLO)
    assert (caught.value.part, caught.value.status) == (fault, status)
    assert len(simulator.sent) == 1
    assert api.is_authorized


MEDIA_REFUSALS = [
    "photo has unsupported extension",
    "can't upload file by URL",
    'failed to send message #1 with the error message "EXTERNAL_URL_INVALID"',
    "group send failed",
    "can't use the media of the specified type in the album",
    "wrong type of the web page content",
    "Wrong HTTP URL specified",
    "failed to get HTTP URL content",
    "wrong remote file identifier specified: can't unserialize it. Wrong last symbol",
    "wrong file_id or the file is temporarily unavailable",
    "type of file mismatch",
    "invalid file HTTP URL specified: Wrong port number specified in the URL",
    "file of size 12 bytes is too big for a photo",
    "need full local (or generate, or inactive remote) location for upload",
    "FILE_PARTS_INVALID",
    "FILE_REFERENCE_EXPIRED",
    "MEDIA_EMPTY",
    "MEDIA_INVALID",
    "VIDEO_CONTENT_TYPE_INVALID",
    "VOICE_MESSAGES_FORBIDDEN",
    "STICKER_ID_INVALID",
    "DOCUMENT_INVALID",
    "IMAGE_PROCESS_FAILED",
    "animated sticker must be uploaded as an InputFile",
    "message caption is too long",
    "user restricted receiving of voice note messages",
    "not enough rights to send photos to the chat",
    "CHAT_SEND_PHOTOS_FORBIDDEN",
    "words that nobody has heard yet",
]


@pytest.mark.parametrize("method", ["sendPhoto", "sendMediaGroup", "sendVoice"])
@pytest.mark.parametrize("description", MEDIA_REFUSALS)
def test_what_names_nothing_else_means_the_media(method: str, description: str) -> None:
    """Its text is sent alone then. Other methods are not refused for media."""
    answer = ApiResponse(error_code=400, description=f"Bad Request: {description}")
    error = build_error(method, answer)
    assert isinstance(error, CallRejected)
    assert error.part is RejectedPart.MEDIA


@pytest.mark.parametrize(
    ("code", "description", "part"),
    [
        (400, "chat not found", RejectedPart.OTHER),
        (400, "PEER_ID_INVALID", RejectedPart.OTHER),
        (400, "have no write access to the chat", RejectedPart.OTHER),
        (400, "need administrator rights in the channel chat", RejectedPart.OTHER),
        (400, "user not found", RejectedPart.OTHER),
        (400, "BUSINESS_CONNECTION_INVALID", RejectedPart.OTHER),
        (400, "message thread not found", RejectedPart.TOPIC),
        (400, "TOPIC_CLOSED", RejectedPart.OTHER),
        (400, "message to be replied not found", RejectedPart.REPLY),
        (400, "object expected as reply parameters", RejectedPart.OTHER),
        (400, "reply markup is too long", RejectedPart.KEYBOARD),
        (400, "BUTTON_URL_INVALID", RejectedPart.KEYBOARD),
        (400, 'can\'t parse entities: unsupported start tag "x"', RejectedPart.FORMAT),
        (400, "file is too big", RejectedPart.SIZE),
        (413, "Request Entity Too Large", RejectedPart.SIZE),
        (415, "Unsupported Media Type", RejectedPart.OTHER),
    ],
)
def test_what_names_something_else_does_not_mean_the_media(
    code: int, description: str, part: RejectedPart
) -> None:
    """The text alone would be refused for it just as well."""
    error = build_error(
        "sendPhoto", ApiResponse(error_code=code, description=description)
    )
    assert isinstance(error, CallRejected)
    assert error.part is part


@pytest.mark.parametrize(
    "description",
    [
        "Forbidden: bot was blocked by the user",
        "Forbidden: user is deactivated",
        "Forbidden: bot can't initiate conversation with a user",
        "Forbidden: bot was kicked from the supergroup chat",
    ],
)
async def test_a_forbidden_chat_is_blocked(
    api: BotApiClient, simulator: Simulator, description: str
) -> None:
    """Until the user or an administrator acts."""
    simulator.fail(status=403, description=description)
    with pytest.raises(RecipientBlocked):
        await api.call("sendMessage", HELLO)
    assert len(simulator.sent) == 1


@pytest.mark.parametrize(
    ("status", "description"),
    [
        (401, "InvalidBotToken"),
        (401, "Unauthorized: invalid token specified"),
        (404, "Not Found"),
    ],
)
async def test_a_wrong_token_shows_until_it_works(
    api: BotApiClient, simulator: Simulator, status: int, description: str
) -> None:
    """Readiness hangs on it."""
    assert api.is_authorized
    simulator.fail(status=status, description=description)
    with pytest.raises(InvalidBotToken):
        await api.call("sendMessage", HELLO)
    assert not api.is_authorized
    simulator.fail(status=500)
    with pytest.raises(BotApiUnavailable):
        await api.call("sendMessage", HELLO, patience=0)
    assert not api.is_authorized
    await api.call("sendMessage", HELLO)
    assert api.is_authorized


async def test_an_edit_that_changes_nothing_succeeds(
    api: BotApiClient, simulator: Simulator
) -> None:
    """The message looks the way it should."""
    await api.call("sendMessage", HELLO)
    await api.call("editMessageText", {**HELLO, "message_id": 1})
    assert "message is not modified" in simulator.sent[-1].error


class OtherWorkers:
    """The cool-downs that other workers know."""

    def __init__(self) -> None:
        self.known: dict[int, float] = {}
        self.lookups = 0

    def record(self, chat_id: int, seconds: float) -> None:
        """Learn of a cool-down."""
        self.known[chat_id] = seconds

    async def find(self, chat_id: int) -> float:
        """Return a cool-down."""
        self.lookups += 1
        return self.known.get(chat_id, 0)


class TestSharedCooldowns:
    """A chat that one worker must not call is not called by another one."""

    @pytest.fixture
    def others(self) -> OtherWorkers:
        """Return workers that know no cool-down."""
        return OtherWorkers()

    @pytest.fixture
    async def sharing(
        self, url: str, clock: FakeClock, naps: Naps, others: OtherWorkers
    ) -> AsyncIterator[BotApiClient]:
        """Yield a client that shares its cool-downs."""
        async with open_bot_api(
            TOKEN, url, uptime=clock.uptime, sleep=naps, shared_cooldowns=others
        ) as api:
            yield api

    async def test_the_others_learn_of_a_429(
        self, sharing: BotApiClient, simulator: Simulator, others: OtherWorkers
    ) -> None:
        simulator.fail(status=429, retry_after=20)
        await sharing.call("sendMessage", HELLO, patience=60)
        assert others.known == {1: 20}
        assert others.lookups == 0  # a reply does not look

    async def test_they_need_not_know_of_a_refused_draft(
        self, sharing: BotApiClient, simulator: Simulator, others: OtherWorkers
    ) -> None:
        simulator.fail(status=429, retry_after=20)
        with pytest.raises(BotApiUnavailable):
            await sharing.call_once("sendMessageDraft", {**HELLO, "draft_id": 5})
        assert others.known == {}

    async def test_what_the_others_know_delays_calls(
        self, sharing: BotApiClient, naps: Naps, others: OtherWorkers
    ) -> None:
        """It is looked up once for a cool-down."""
        others.known = {1: 20}
        await sharing.learn_cooldown(1)
        await sharing.learn_cooldown(1)
        assert others.lookups == 1
        await sharing.call("sendMessage", HELLO, patience=60)
        assert naps.seconds == [20]
        await sharing.learn_cooldown(2)
        await sharing.call("sendMessage", {**HELLO, "chat_id": 2})
        assert naps.seconds == [20]


class TestBeforeRequests:
    """A caller learns when a request is made, and not when it waits."""

    async def test_each_request_is_announced_after_its_pause(
        self, api: BotApiClient, simulator: Simulator, clock: FakeClock
    ) -> None:
        """In a cool-down no request is made, so none is announced."""
        seen: list[str] = []

        async def wait(pause: Awaitable[None]) -> None:
            seen.append("wait")
            await pause
            clock.move(21)

        async def begin() -> None:
            seen.append("request")

        simulator.fail(status=429, retry_after=20)
        await api.call("sendMessage", HELLO, patience=60, wait=wait)
        assert seen == ["wait"]
        seen.clear()
        simulator.fail(status=429, retry_after=20)
        for _ in range(2):
            await api.call(
                "sendMessage", HELLO, patience=60, wait=wait, before_request=begin
            )
        assert seen == ["request", "wait", "request", "request"]
        simulator.fail(status=429, retry_after=20)
        with pytest.raises(BotApiUnavailable):
            await api.call("sendMessage", HELLO, patience=0)
        seen.clear()
        await api.call(
            "sendMessage", HELLO, patience=60, wait=wait, before_request=begin
        )
        assert seen == ["wait", "request"]

    async def test_none_is_made_into_a_cooldown_that_begins_before_it(
        self, api: BotApiClient, simulator: Simulator, naps: Naps
    ) -> None:
        """Another call may get a 429 while the caller prepares its own."""

        async def fail_other_call() -> None:
            if not naps.seconds:
                simulator.fail(status=429, retry_after=20)
                with pytest.raises(BotApiUnavailable):
                    await api.call("sendMessage", HELLO, patience=0)

        await api.call(
            "sendMessage", HELLO, patience=60, before_request=fail_other_call
        )
        assert naps.seconds == [20]
        assert len(simulator.messages(1)) == 1

    async def test_one_that_the_caller_does_not_want_is_not_made(
        self, api: BotApiClient, simulator: Simulator
    ) -> None:
        async def refuse() -> None:
            raise TimeoutError

        with pytest.raises(TimeoutError):
            await api.call("sendMessage", HELLO, before_request=refuse)
        assert simulator.messages(1) == []


class TestAttempts:
    """Calls that nobody needs: what is shown of an answer while it is written."""

    async def test_one_is_made_once(
        self, api: BotApiClient, simulator: Simulator
    ) -> None:
        """The next one is newer anyway."""
        simulator.fail(status=502, times=5)
        with pytest.raises(BotApiUnavailable):
            await api.call_once("sendMessage", HELLO)
        assert len(simulator.sent) == 1

    async def test_a_refused_draft_holds_nothing_back(
        self, api: BotApiClient, simulator: Simulator, naps: Naps
    ) -> None:
        """The message that it is a draft of goes out at once."""
        simulator.fail(status=429, retry_after=20)
        with pytest.raises(BotApiUnavailable) as caught:
            await api.call_once("sendMessageDraft", {**HELLO, "draft_id": 5})
        assert caught.value.retry_after == 20
        await api.call("sendMessage", HELLO)
        assert naps.seconds == []

    async def test_none_is_made_during_a_cooldown(
        self, api: BotApiClient, simulator: Simulator
    ) -> None:
        """Not even typing: calls into a cool-down make Telegram's next one longer."""
        simulator.fail(status=429, retry_after=20)
        with pytest.raises(BotApiUnavailable):
            await api.call("sendMessage", HELLO, patience=0)
        count = len(simulator.sent)
        with pytest.raises(BotApiUnavailable) as caught:
            await api.call_once("sendChatAction", {"chat_id": 1, "action": "typing"})
        assert caught.value.retry_after == 20
        await api.call_once("sendChatAction", {"chat_id": 2, "action": "typing"})
        assert len(simulator.sent) == count + 1

    async def test_a_refused_edit_holds_its_chat_back(
        self, api: BotApiClient, simulator: Simulator, naps: Naps
    ) -> None:
        """Whoever can wait for so long gets through; others fail at once."""
        message = await api.call("sendMessage", HELLO)
        edit = {**HELLO, "message_id": message["message_id"], "text": "more"}
        simulator.fail(status=429, retry_after=137)
        with pytest.raises(BotApiUnavailable):
            await api.call_once("editMessageText", edit)
        with pytest.raises(BotApiUnavailable):
            await api.call("editMessageText", edit, patience=120)
        assert naps.seconds == []
        await api.call("editMessageText", edit, patience=300)
        assert naps.seconds == [137]


class TestRetries:
    """A call is made again while it certainly did not arrive."""

    @pytest.mark.parametrize("status", [500, 503])
    async def test_a_failing_server_is_asked_until_it_works(
        self, api: BotApiClient, simulator: Simulator, naps: Naps, status: int
    ) -> None:
        """After pauses that grow, each a little longer or shorter than the rule."""
        simulator.fail(status=status, times=7)
        await api.call("sendMessage", HELLO, patience=120)
        assert [call.status for call in simulator.sent] == [*[status] * 7, 200]
        rule = [0.5, 1, 2, 4, 8, 8, 8]
        assert naps.seconds == pytest.approx(rule, rel=0.26)
        assert len(set(naps.seconds[-3:])) == 3

    async def test_each_call_that_succeeds_lets_a_retry_go_ahead(
        self, api: BotApiClient, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """So those that waited follow each other as fast as the server answers."""
        monkeypatch.setattr(
            "gateway.telegram.bot_api.retries.RETRY_INTERVAL_SECONDS", 10**6
        )
        simulator.fail(status=500, times=20)
        calls = (api.call("sendMessage", HELLO, patience=10**6) for _ in range(20))
        async with asyncio.timeout(LIMIT):
            await asyncio.gather(*calls)
        assert len(simulator.messages(1)) == 20

    async def test_it_is_not_asked_beyond_the_patience(
        self, api: BotApiClient, simulator: Simulator, clock: FakeClock
    ) -> None:
        """The error says that it may work later."""
        simulator.fail(status=500, times=100)
        began = clock.uptime()
        with pytest.raises(BotApiUnavailable) as caught:
            await api.call("sendMessage", HELLO, patience=60)
        assert not caught.value.maybe_applied
        assert 45 < clock.uptime() - began <= 60
        assert simulator.messages(1) == []

    async def test_a_call_without_patience_is_made_once(
        self, api: BotApiClient, simulator: Simulator, naps: Naps
    ) -> None:
        """REPLY_PATIENCE=0 means just that."""
        simulator.fail(status=500)
        with pytest.raises(BotApiUnavailable):
            await api.call("sendMessage", HELLO, patience=0)
        assert naps.seconds == []

    @pytest.mark.parametrize("status", [502, 504, 520, 524])
    @pytest.mark.parametrize("body", [None, "<html>Bad Gateway</html>", "", "[]"])
    async def test_what_a_proxy_passed_on_is_not_sent_again(
        self, api: BotApiClient, simulator: Simulator, status: int, body: str | None
    ) -> None:
        """The server behind it may have carried it out before it went away."""
        simulator.fail(status=status, body=body)
        with pytest.raises(BotApiUnavailable) as caught:
            await api.call("sendMessage", HELLO, patience=120)
        assert caught.value.maybe_applied
        assert len(simulator.sent) == 1
        simulator.fail(status=status, body=body)
        await api.call("answerCallbackQuery", {"callback_query_id": "1"}, patience=120)
        assert [call.status for call in simulator.sent[1:]] == [status, 200]

    @pytest.mark.parametrize("body", ["<html>Busy</html>", "", "[]", '{"ok":'])
    async def test_what_a_proxy_refuses_itself_is_sent_again(
        self, api: BotApiClient, simulator: Simulator, body: str
    ) -> None:
        """An error of a proxy need not be JSON: its status is enough."""
        simulator.fail(status=503, body=body)
        await api.call("sendMessage", HELLO, patience=120)
        assert len(simulator.messages(1)) == 1

    @pytest.mark.parametrize("status", [403, 404, 408])
    async def test_a_refusal_in_front_of_the_bot_api_blames_neither_user_nor_token(
        self, api: BotApiClient, simulator: Simulator, status: int
    ) -> None:
        """A firewall that refuses all calls does not mean that all users blocked us."""
        simulator.fail(status=status, body="<html>nginx</html>", times=2)
        with pytest.raises(BotApiUnavailable) as caught:
            await api.call("sendMessage", HELLO, patience=0)
        assert not caught.value.maybe_applied
        assert api.is_authorized
        await api.call("sendMessage", HELLO, patience=120)
        assert len(simulator.messages(1)) == 1

    @pytest.mark.parametrize(
        "words",
        [
            "sent message was immediately deleted and can't be returned",
            "request aborted",
        ],
    )
    async def test_an_error_for_what_was_carried_out_is_final(
        self, api: BotApiClient, simulator: Simulator, words: str
    ) -> None:
        """A moderator would delete the message again and again."""
        simulator.fail(status=500, description=f"Internal Server Error: {words}")
        with pytest.raises(BotApiUnavailable) as caught:
            await api.call("sendMessage", HELLO, patience=120)
        assert caught.value.maybe_applied
        assert len(simulator.sent) == 1

    async def test_what_was_lost_behind_envoy_is_not_sent_again(
        self, api: BotApiClient, simulator: Simulator
    ) -> None:
        """Its 503 comes also where the server behind it had the request."""
        words = "upstream connect error or disconnect/reset before headers"
        simulator.fail(status=503, body=words)
        with pytest.raises(BotApiUnavailable) as caught:
            await api.call("sendMessage", HELLO, patience=120)
        assert caught.value.maybe_applied
        assert len(simulator.sent) == 1

    async def test_a_garbled_success_is_not_repeated_for_a_message(
        self, api: BotApiClient, simulator: Simulator
    ) -> None:
        """The message is there, whatever the body says."""
        simulator.fail(status=200, body="<html>Sign in to this network</html>", times=2)
        with pytest.raises(BotApiUnavailable):
            await api.call("sendMessage", HELLO, patience=120)
        assert len(simulator.messages(1)) == 1

    async def test_a_connection_that_breaks_is_made_again_where_that_is_harmless(
        self, api: BotApiClient, simulator: Simulator, naps: Naps
    ) -> None:
        """The first request may have been carried out; twice is as good as once."""
        simulator.fail(status=500, drop=True)
        await api.call("answerCallbackQuery", {"callback_query_id": "1"})
        assert [call.status for call in simulator.sent] == [0, 200]
        assert len(naps.seconds) == 1

    async def test_a_message_is_not_sent_twice_when_its_connection_breaks(
        self, api: BotApiClient, simulator: Simulator
    ) -> None:
        """Nobody can tell whether it arrived, and reading it twice is worse."""
        simulator.fail("sendMessage", 200, drop=True)
        with pytest.raises(BotApiUnavailable):
            await api.call("sendMessage", HELLO, patience=120)
        assert len(simulator.messages(1)) == 1

    async def test_a_server_that_comes_back_gets_the_call(
        self, simulator: Simulator, clock: FakeClock
    ) -> None:
        """A refused connection is tried again, however often."""
        async with simulator.serve() as url:
            port = int(url.rpartition(":")[2])
        back = asyncio.Event()
        done = asyncio.Event()
        pauses = []

        async def serve() -> None:
            async with simulator.serve(port=port):
                back.set()
                await done.wait()

        async def sleep(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 4:
                serving.append(asyncio.create_task(serve()))
                await back.wait()

        serving: list[asyncio.Task[None]] = []
        async with open_bot_api(TOKEN, url, uptime=clock.uptime, sleep=sleep) as api:
            await api.call("sendMessage", HELLO, patience=120)
        done.set()
        await asyncio.gather(*serving)
        assert len(simulator.messages(1)) == 1
        assert len(pauses) == 4

    async def test_a_message_is_not_repeated_after_a_timeout(
        self, url: str, simulator: Simulator, naps: Naps
    ) -> None:
        """It may be on its way, and nobody wants to read it twice."""
        simulator.fail(status=200, delay=30, times=2)
        async with open_bot_api(TOKEN, url, request_timeout=1, sleep=naps) as api:
            with pytest.raises(BotApiUnavailable):
                await api.call("sendMessage", HELLO, patience=120)
        assert len(simulator.sent) == 1

    async def test_what_may_be_done_twice_is_repeated_after_a_timeout(
        self, url: str, api: BotApiClient, simulator: Simulator, naps: Naps
    ) -> None:
        """The second time it makes no difference."""
        calls: dict[str, dict[str, Any]] = {
            "editMessageText": {"chat_id": 1, "text": "New", "message_id": 1},
            "answerCallbackQuery": {"callback_query_id": "77"},
            "sendChatAction": {"chat_id": 1, "action": "typing"},
            "getMe": {},
            "setMyCommands": {"commands": []},
            "deleteWebhook": {},
        }
        await api.call("sendMessage", HELLO)
        simulator.sent.clear()
        for method in calls:
            simulator.fail(method, 200, delay=30)
        async with open_bot_api(TOKEN, url, request_timeout=2, sleep=naps) as hasty:
            await asyncio.gather(*(hasty.call(*call) for call in calls.items()))
        sent = [call.method for call in simulator.sent]
        assert sorted(sent) == sorted([*calls, *calls])

    async def test_a_connection_that_is_not_made_in_time_is_tried_again(
        self, clock: FakeClock, naps: Naps, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nothing was written, so that nothing can happen twice."""
        monkeypatch.setattr(
            "gateway.telegram.bot_api.connections._CONNECT_SECONDS", 0.05
        )
        requests: list[bytes] = []
        # The server waits for an HTTP request, the client for a TLS handshake.
        async with raw_server(b"", requests) as url:
            address = url.replace("http:", "https:")
            async with open_bot_api(
                TOKEN, address, uptime=clock.uptime, sleep=naps
            ) as api:
                with pytest.raises(BotApiUnavailable):
                    await api.call("sendMessage", HELLO, patience=2)
        assert len(naps.seconds) >= 2

    async def test_a_message_whose_answer_breaks_off_is_not_repeated(
        self, clock: FakeClock, naps: Naps
    ) -> None:
        """Telegram has carried it out when it begins to answer."""
        requests: list[bytes] = []
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n"
        async with (
            raw_server(head + b'{"ok":true', requests) as url,
            open_bot_api(TOKEN, url, uptime=clock.uptime, sleep=naps) as api,
        ):
            with pytest.raises(BotApiUnavailable):
                await api.call("sendMessage", HELLO, patience=120)
            assert len(requests) == 1
            with pytest.raises(BotApiUnavailable):
                await api.call("getMe", {}, patience=1)
        assert len(requests) == 3

    async def test_uploads_that_wait_do_not_fill_the_memory(
        self,
        api: BotApiClient,
        simulator: Simulator,
        naps: Naps,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Beyond a bound a file is given up at once; messages wait all the same."""
        monkeypatch.setattr("gateway.telegram.bot_api.client._MAX_WAITING_BYTES", 100)
        simulator.fail(status=500, times=3)
        naps.allowed.clear()
        document = {"chat_id": 1, "document": "attach://file"}
        upload = {"file": Upload(content=b"." * 60, file_name="a.txt")}
        waiting = [
            asyncio.create_task(
                api.call("sendDocument", document, upload, patience=120)
            )
        ]
        await wait_until(lambda: naps.seconds)
        with pytest.raises(BotApiUnavailable):
            await api.call("sendDocument", document, upload, patience=120)
        waiting.append(asyncio.create_task(api.call("sendMessage", HELLO, patience=9)))
        await wait_until(lambda: len(naps.seconds) == 2)
        naps.allowed.set()
        await asyncio.gather(*waiting)
        assert [call.status for call in simulator.sent] == [500] * 3 + [200] * 2


class TestTooManyRequests:
    """A 429 holds back its own chat and no other."""

    async def test_the_call_waits_as_long_as_telegram_says(
        self, api: BotApiClient, simulator: Simulator, naps: Naps
    ) -> None:
        simulator.fail(retry_after=7)
        await api.call("sendMessage", HELLO, patience=120)
        assert naps.seconds == [7]
        assert [call.status for call in simulator.sent] == [429, 200]

    async def test_it_waits_as_often_as_telegram_says(
        self, api: BotApiClient, simulator: Simulator, naps: Naps
    ) -> None:
        """A second 429 is no reason to give up, nor is a fifth."""
        for seconds in (2, 9, 1, 30, 5):
            simulator.fail(retry_after=seconds)
        await api.call("sendMessage", HELLO, patience=120)
        assert naps.seconds == [2, 9, 1, 30, 5]
        assert len(simulator.messages(1)) == 1

    async def test_one_chat_waits_while_another_goes_through(
        self, api: BotApiClient, simulator: Simulator, naps: Naps
    ) -> None:
        """Also calls of the same chat that come later."""
        naps.allowed.clear()
        simulator.fail(retry_after=7, chat_id=1)
        first = asyncio.create_task(api.call("sendMessage", HELLO, patience=120))
        await wait_until(lambda: naps.seconds)
        second = asyncio.create_task(api.call("sendMessage", HELLO, patience=120))
        await wait_until(lambda: len(naps.seconds) == 2)
        await api.call("sendMessage", {**HELLO, "chat_id": 2})
        await api.call("answerCallbackQuery", {"callback_query_id": "77"})
        assert simulator.messages(1) == []
        assert len(simulator.messages(2)) == 1
        naps.allowed.set()
        await asyncio.gather(first, second)
        assert len(simulator.messages(1)) == 2

    async def test_a_long_wait_fails_at_once_until_its_end(
        self, api: BotApiClient, simulator: Simulator, naps: Naps, clock: FakeClock
    ) -> None:
        """The chat gets no further request before Telegram allows it."""
        simulator.fail(retry_after=121)
        for _ in range(2):
            with pytest.raises(BotApiUnavailable):
                await api.call("sendMessage", HELLO, patience=120)
        assert naps.seconds == []
        assert len(simulator.sent) == 1
        clock.move(121)
        await api.call("sendMessage", HELLO)

    async def test_a_longer_wait_told_meanwhile_holds_the_first_call_too(
        self, api: BotApiClient, simulator: Simulator, naps: Naps, clock: FakeClock
    ) -> None:
        """Two calls were under way to the chat when it was held back."""
        naps.allowed.clear()
        simulator.fail(retry_after=2)
        simulator.fail(retry_after=9)
        began = clock.uptime()
        calls = [
            asyncio.create_task(api.call("sendMessage", HELLO, patience=120))
            for _ in "12"
        ]
        await wait_until(lambda: len(naps.seconds) == 2)
        naps.allowed.set()
        await asyncio.gather(*calls)
        assert sorted(naps.seconds)[:2] == [2, 7]
        assert clock.uptime() - began >= 9
        assert [call.status for call in simulator.sent] == [429, 429, 200, 200]

    async def test_calls_without_a_chat_hold_back_no_other(
        self, api: BotApiClient, simulator: Simulator, naps: Naps
    ) -> None:
        simulator.fail(retry_after=31)
        with pytest.raises(BotApiUnavailable):
            await api.call("getMe", {})
        await api.call("answerCallbackQuery", {"callback_query_id": "77"})
        assert naps.seconds == []

    @pytest.mark.parametrize(
        ("header", "body", "seconds"),
        [
            ("12", b"<html>", 12),
            ("12", b'{"ok":false,"parameters":{"retry_after":3}}', 3),
            ("Wed, 21 Oct 2026 07:28:00 GMT", b"", 1),
            ("", b"", 1),
            ("-5", b"", 1),
        ],
    )
    def test_the_wait_is_in_the_body_or_in_the_header(
        self, header: str, body: bytes, seconds: float
    ) -> None:
        """A proxy may give a header only, or nothing."""
        assert parse_response(429, header, body).parameters.retry_after == seconds


@pytest.mark.parametrize(
    "body", [b"\xff\xfe", b'{"description":"\xff"}', b"", b'{"result":' + b"[" * 9999]
)
def test_any_body_is_read(body: bytes) -> None:
    """A proxy may answer anything."""
    assert parse_response(502, "", body).error_code == 502


def test_a_result_with_bytes_that_are_not_utf_8_is_read() -> None:
    """A client can put such bytes into a button, and the Bot API passes them on."""
    body = b'{"ok":true,"result":[{"update_id":1,"data":"\xff"},{"update_id":2}]}'
    assert parse_response(200, "", body).result == [
        {"update_id": 1, "data": "\ufffd"},
        {"update_id": 2},
    ]


async def test_a_group_is_followed_under_its_new_id(
    api: BotApiClient, simulator: Simulator
) -> None:
    group = {**HELLO, "chat_id": -5}
    simulator.fail(migrate_to_chat_id=-1001, chat_id=-5)
    await api.call("sendMessage", group)
    await api.call("sendMessage", group)
    chats = [call.parameters["chat_id"] for call in simulator.sent]
    assert chats == [-5, -1001, -1001]


async def test_only_the_newest_moves_are_remembered(
    api: BotApiClient, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A group that moved long ago is followed again."""
    monkeypatch.setattr("gateway.telegram.bot_api.client._MAX_MIGRATIONS", 2)
    action = {"action": "typing"}
    for group in (-1, -2, -3):
        simulator.fail(migrate_to_chat_id=-1001, chat_id=group, times=2)
        await api.call("sendChatAction", {"chat_id": group, **action})
    simulator.sent.clear()
    for group in (-3, -2, -1):
        await api.call("sendChatAction", {"chat_id": group, **action})
    chats = [call.parameters["chat_id"] for call in simulator.sent]
    assert chats == [-1001, -1001, -1, -1001]


@asynccontextmanager
async def raw_server(answer: bytes, requests: list[bytes]) -> AsyncIterator[str]:
    """Answer every request with the same bytes and close the connection."""
    connections: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            requests.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answer)
        writer.close()
        connections.discard(writer)

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await wait_until(lambda: not connections)


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error with all its causes and contexts."""
    while error is not None:
        yield error
        if error.__cause__ is not None:
            yield from chain(error.__cause__)
        error = error.__context__


async def errors_of(url: str, seconds: float = 5) -> BotApiError:
    """Make a call that fails."""

    async def sleep(_: float) -> None:
        pass

    async with open_bot_api(TOKEN, url, request_timeout=seconds, sleep=sleep) as api:
        assert SECRET not in repr(api)
        with pytest.raises(BotApiError) as caught:
            await api.call("getMe", {}, patience=0)
    return caught.value


class TestToken:
    """The token is part of every address, and of nothing else."""

    @pytest.fixture(autouse=True)
    def _nothing_is_logged(self, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
        with caplog.at_level(logging.DEBUG):
            yield
        assert SECRET not in caplog.text

    def check(self, error: BotApiError) -> None:
        """Fail if the token is anywhere in the error."""
        assert SECRET not in "".join(traceback.format_exception(error))
        for each in chain(error):
            assert SECRET not in f"{each} {each!r} {each.args} {vars(each)}"

    @pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 429, 502])
    async def test_no_status_shows_it(
        self, url: str, simulator: Simulator, status: int
    ) -> None:
        simulator.fail(
            status=status, times=2, retry_after=40, description=f"/bot{TOKEN}/getMe"
        )
        self.check(await errors_of(url))

    async def test_no_timeout_shows_it(self, url: str, simulator: Simulator) -> None:
        """Aiohttp names the address there."""
        simulator.fail(status=200, delay=30, times=2)
        self.check(await errors_of(url, seconds=0.05))

    async def test_no_broken_connection_shows_it(
        self, url: str, simulator: Simulator
    ) -> None:
        """Nor a connection that is refused."""
        simulator.fail(status=500, drop=True, times=2)
        self.check(await errors_of(url))
        async with simulator.serve() as gone:
            pass
        self.check(await errors_of(gone))

    @pytest.mark.parametrize(
        "answer",
        [
            b"no HTTP at all\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\na",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n\r\n",
            b"",
        ],
    )
    async def test_no_garbled_answer_shows_it(self, answer: bytes) -> None:
        """Aiohttp keeps the request in such an error."""
        async with raw_server(answer, []) as url:
            self.check(await errors_of(url))

    async def test_no_redirect_takes_it_elsewhere(self) -> None:
        """Telegram never redirects."""
        requests: list[bytes] = []
        async with raw_server(b"", requests) as elsewhere:
            head = f"HTTP/1.1 307 Go\r\nLocation: {elsewhere}/\r\n"
            answer = f"{head}Content-Length: 0\r\n\r\n".encode()
            async with raw_server(answer, []) as url:
                self.check(await errors_of(url))
        assert requests == []

    @pytest.mark.parametrize(
        "url", ["no address", "http://", "http://[::1", "http://host..name", "ftp://x"]
    )
    async def test_no_wrong_address_shows_it(self, url: str) -> None:
        """A wrong setting is no reason to print the token."""
        self.check(await errors_of(url))

    async def test_no_tls_error_shows_it(self, url: str) -> None:
        """As with a server that speaks plain HTTP."""
        self.check(await errors_of(url.replace("http:", "https:")))

"""A user's chat in the page, as a person sees and uses it."""

from playwright.async_api import Locator, Page

WINDOW_MS = 1100
"""A little longer than the window of the rate limit, in which one update is taken."""

_HEAR = "async (event) => (await import('/page/events.js')).apply(event)"


class Chat:
    """The chat that the page shows.

    Attributes:
        page: the page.
        user: the user's id.
    """

    def __init__(self, page: Page, user: int) -> None:
        self.page = page
        self.user = user
        self.input = page.get_by_placeholder("Write a message")
        self.rows = page.locator(".row")

    def of_bot(self, text: str) -> Locator:
        """Find what the bot said."""
        return self.page.locator(".message.bot").filter(has_text=text)

    def button(self, text: str) -> Locator:
        """Find a button under a message."""
        return self.page.locator(".key").filter(has_text=text)

    def message(self, message_id: int, **fields: object) -> dict[str, object]:
        """Make a message of the bot, which no rule of the Bot API checks."""
        author = {"id": 1, "is_bot": True, "first_name": "Bot"}
        chat = {"id": self.user, "type": "private"}
        places = {"message_id": message_id, "from": author, "chat": chat, "date": 1}
        return {**places, **fields}

    async def hear(self, kind: str, **fields: object) -> None:
        """Return the page an event of this chat, as if the stream had brought it."""
        event = {"type": kind, "chat_id": self.user, **fields}
        await self.page.evaluate(_HEAR, event)

    async def say(self, text: str) -> None:
        """Write a message and send it."""
        await self.input.fill(text)
        await self.input.press("Enter")

    async def rest(self) -> None:
        """Wait until the rate limit takes the next update."""
        await self.page.wait_for_timeout(WINDOW_MS)

    async def open_row(self, title: str) -> Locator:
        """Open the newest update with this title and give its row."""
        row = self.rows.filter(has_text=title).first
        await row.locator(".row-head").click()
        return row

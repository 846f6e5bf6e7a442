"""A bot that calls the simulator."""

from typing import Any

import aiohttp

TOKEN = "123456:test-token"


class Bot:
    """Calls the Bot API as any bot does."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, token: str = TOKEN
    ) -> None:
        self.session = session
        self.url = url
        self.token = token

    async def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """Make a call with a JSON body; return the answer."""
        address = f"{self.url}/bot{self.token}/{method}"
        async with self.session.post(address, json=parameters) as response:
            answer: dict[str, Any] = await response.json()
        assert response.status == answer.get("error_code", 200)
        return answer

    async def error(self, method: str, **parameters: object) -> str:
        """Make a call that must fail; return the description of the error."""
        return str((await self.call(method, **parameters))["description"])

    async def result(self, method: str, **parameters: object) -> Any:  # noqa: ANN401 - any JSON
        """Make a call that must work; give its result."""
        answer = await self.call(method, **parameters)
        assert answer["ok"], answer
        return answer["result"]

    async def control(
        self, endpoint: str, /, **fields: object
    ) -> tuple[int, dict[str, Any]]:
        """Post to a control endpoint, below /do; gives status and answer."""
        url = f"{self.url}/do/{endpoint}"
        async with self.session.post(url, json=fields) as response:
            return response.status, await response.json()

    async def page(self, path: str) -> str:
        """Get a page for people."""
        async with self.session.get(f"{self.url}{path}") as response:
            assert response.status == 200
            return await response.text()

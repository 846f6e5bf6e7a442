"""Services that speak first, with whole gateways."""

import asyncio
from pathlib import Path

from tests.support.process import run, settings_of
from tests.support.tcp_ports import free_ports


async def test_all_problems_are_found_before_the_start(tmp_path: Path) -> None:
    callers = tmp_path / "callers.yaml"
    callers.write_text("callers:\n  - name: a\n  - name: b\n    hush: 1\n")
    (port,) = free_ports(1)
    settings = settings_of("localhost:1", "http://localhost:1", *free_ports(2)) | {
        "DELIVERY_PORT": str(port),
        "DELIVERY_CALLERS_FILE": str(callers),
        "DELIVERY_TLS_CERTIFICATE_FILE": str(tmp_path / "missing"),
        "DELIVERY_TLS_KEY_FILE": str(tmp_path / "missing"),
        "DELIVERY_TLS_CLIENT_CA_FILE": str(tmp_path / "missing"),
    }
    code, output, errors = await run("serve", settings=settings)
    assert (code, output) == (2, "")
    assert [line.split(": ")[1:3] for line in errors.splitlines()] == [
        [
            "DELIVERY_TLS_CERTIFICATE_FILE",
            "it and DELIVERY_TLS_KEY_FILE are not a certificate and its key",
        ],
        ["DELIVERY_TLS_CLIENT_CA_FILE", "is not a file of TLS authorities"],
        ["DELIVERY_CALLERS_FILE", "callers.1"],
        ["DELIVERY_CALLERS_FILE", "callers.2"],
    ]
    assert "hush" not in errors


async def test_a_used_port_ends_the_start() -> None:
    settings = settings_of("localhost:1", "http://localhost:1", *free_ports(2))
    (port,) = free_ports(1)
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", port)
    async with server:
        for workers in ("1", "2"):
            more = {"DELIVERY_PORT": str(port), "WORKERS": workers}
            more |= {"REDIS_URL": "redis://localhost:1"}
            code, _, errors = await run("serve", settings=settings | more)
            assert code == 2
            assert f"127.0.0.1:{port}: Address already in use" in errors

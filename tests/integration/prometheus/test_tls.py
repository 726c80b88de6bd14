"""Tokens and certificates against a real TLS server that asks for them; each may be replaced at any time."""

from __future__ import annotations

import contextlib
import pathlib
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gpufleet.observe import prometheus
from gpufleet_sandbox import certs
from tests.integration.prometheus import servers

Seen = list[tuple[str, str]]
"""The token and the name in the certificate of each request."""


@pytest.fixture
def authority(tmp_path: pathlib.Path) -> certs.Authority:
    folder = tmp_path / "ca"
    folder.mkdir()
    return certs.Authority(folder)


@pytest.fixture
def secret(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "secret"
    folder.mkdir()
    return folder


@contextlib.asynccontextmanager
async def serve(authority: certs.Authority, seen: Seen, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """A server on 127.0.0.1 with a certificate for `host`, that asks for one of the same authority."""

    async def answer(request: web.Request) -> web.Response:
        assert request.transport
        subject = request.transport.get_extra_info("peercert")["subject"]
        name = next(value for parts in subject for key, value in parts if key == "commonName")
        seen.append((request.headers.get("Authorization", ""), name))
        result = [{"metric": {"namespace": "team-a", "pod": "a"}, "value": [1.0, "1"]}]
        return web.json_response({"status": "success", "data": {"resultType": "vector", "result": result}})

    pair = authority.issue_serving(f"serving-{host}", "prometheus", [host])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.certificate)
    context.load_cert_chain(pair.certificate, pair.key)
    context.verify_mode = ssl.CERT_REQUIRED
    app = web.Application()
    app.router.add_post("/api/v1/query", answer)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server(ssl=context)
    try:
        yield f"https://127.0.0.1:{server.port}"
    finally:
        await server.close()


def put(folder: pathlib.Path, authority: certs.Authority, name: str, token: str = "abc") -> None:
    """A whole Secret for the client `name`."""
    pair = authority.issue_client(name, name)
    (folder / "ca.crt").write_bytes(authority.certificate.read_bytes())
    (folder / "tls.crt").write_bytes(pair.certificate.read_bytes())
    (folder / "tls.key").write_bytes(pair.key.read_bytes())
    (folder / "token").write_text(f"{token}\n")


def build(url: str, secret: pathlib.Path) -> prometheus.Sampler:
    return servers.build_sampler(url, prometheus_secret_dir=str(secret), prometheus_timeout_s=5)


async def test_both_sides_prove_who_they_are(authority: certs.Authority, secret: pathlib.Path) -> None:
    seen: Seen = []
    put(secret, authority, "gpufleet")
    async with serve(authority, seen) as url:
        sampler = build(url, secret)
        await sampler.step()
    assert (sampler.look.error, len(sampler.look.pods)) == ("", 1)
    assert set(seen) == {("Bearer abc", "gpufleet")}


async def test_token_and_certificate_may_be_replaced(
    authority: certs.Authority, secret: pathlib.Path
) -> None:
    seen: Seen = []
    put(secret, authority, "first")
    async with serve(authority, seen) as url:
        sampler = build(url, secret)
        await sampler.step()
        put(secret, authority, "second", token="xyz")
        await sampler.step()
    assert sampler.look.error == ""
    assert [one for number, one in enumerate(seen) if one not in seen[:number]] == [
        ("Bearer abc", "first"),
        ("Bearer xyz", "second"),
    ]


def spoil(secret: pathlib.Path, **files: bytes | None) -> None:
    for name, content in files.items():
        path = secret / name.replace("_", ".")
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        pytest.param({"tls_crt": None, "tls_key": None}, "cannot be asked", id="no certificate"),
        pytest.param({"ca_crt": None}, "CERTIFICATE_VERIFY_FAILED", id="an authority that is not known"),
        pytest.param({"ca_crt": b"nothing"}, "cannot be used", id="an authority that is none"),
        pytest.param({"tls_key": b"nothing"}, "cannot be used", id="a key that is none"),
        pytest.param({"tls_key": None}, "cannot be used", id="a certificate without its key"),
        pytest.param({"token": b"s3cret\ntwo lines"}, "not one line of ASCII", id="a token of two lines"),
        pytest.param({"token": b"s3cret\xff"}, "not one line of ASCII", id="a token that is no text"),
        pytest.param({"token": b"\n"}, "not one line of ASCII", id="an empty token"),
    ],
)
async def test_a_spoilt_secret_is_named_and_passes(
    authority: certs.Authority, secret: pathlib.Path, files: dict[str, Any], said: str
) -> None:
    put(secret, authority, "gpufleet")
    spoil(secret, **files)
    async with serve(authority, []) as url:
        sampler = build(url, secret)
        await sampler.step()
        during = sampler.look
        put(secret, authority, "gpufleet")
        await sampler.step()
    assert (said in during.error, during.pods) == (True, {})
    assert "s3cret" not in during.error
    assert (sampler.look.error, len(sampler.look.pods)) == ("", 1)


async def test_a_server_with_another_name_is_refused(
    authority: certs.Authority, secret: pathlib.Path
) -> None:
    put(secret, authority, "gpufleet")
    async with serve(authority, [], host="elsewhere.example") as url:
        sampler = build(url, secret)
        await sampler.step()
    assert "CERTIFICATE_VERIFY_FAILED" in sampler.look.error


async def test_a_foreign_authority_is_refused(
    authority: certs.Authority, secret: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "other").mkdir()
    put(secret, certs.Authority(tmp_path / "other"), "gpufleet")
    async with serve(authority, []) as url:
        sampler = build(url, secret)
        await sampler.step()
    assert "CERTIFICATE_VERIFY_FAILED" in sampler.look.error

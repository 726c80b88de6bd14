"""Asks programs in pods over HTTP. What they answer is small, and leads nowhere else."""

from __future__ import annotations

import logging
from typing import TypeVar

import aiohttp
import pydantic

from gpufleet.state import fleet

REQUEST_TIMEOUT_S = 2.0

_Answer = TypeVar("_Answer", bound=pydantic.BaseModel)
_log = logging.getLogger(__name__)


class TooLongError(ValueError):
    """An answer has more bytes than are read of it."""


def connect() -> aiohttp.ClientSession:
    """A session that keeps no connection: pods go, and another may get the address."""
    limit = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
    connector = aiohttp.TCPConnector(force_close=True)
    return aiohttp.ClientSession(timeout=limit, trust_env=False, connector=connector)


async def ask(
    session: aiohttp.ClientSession, pod: fleet.Pod, where: str, form: type[_Answer], largest: int
) -> _Answer | None:
    """What the pod answers at `where` (":PORT/PATH"); None where it does not, or not in this form.

    `largest`: bytes of the body; a longer one is no answer.
    """
    host = f"[{pod.ip}]" if ":" in pod.ip else pod.ip
    try:
        async with session.get(f"http://{host}{where}", allow_redirects=False) as response:
            if response.status != 200:
                return None
            return form.model_validate_json(await read_at_most(response, largest))
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        _log.debug("%s of %s/%s: %s", where, pod.namespace, pod.name, error)
        return None


async def read_at_most(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The whole body; raises TooLongError where it is longer."""
    body = bytearray()
    async for chunk in response.content.iter_chunked(limit):
        body += chunk
        if len(body) > limit:
            raise TooLongError(f"the answer is longer than {limit} bytes")
    return bytes(body)

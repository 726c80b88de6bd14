"""Asks Prometheus, in a task of its own, what it knows of all Triton pods: one query per signal.

Nothing it answers is trusted: an answer is bounded in time and size, is not redirected, and a value that is
no finite number is none.
"""

from __future__ import annotations

import asyncio
import logging
import math
import pathlib
import ssl
from collections import defaultdict
from collections.abc import Callable, Mapping

import aiohttp
import msgspec

from gpufleet import clock, settings
from gpufleet.observe import queries
from gpufleet.state import samples

LARGEST_ANSWER = 32 * 2**20
"""Bytes; a query over ten thousand pods answers about a tenth of it."""

NOT_CONFIGURED = "no Prometheus is configured: set prometheus.url of the chart"

_LOG = logging.getLogger(__name__)
PodKey = tuple[str, str]


class PrometheusError(Exception):
    """Prometheus did not answer, or not in its own language; the text says what and from where."""


class _Series(msgspec.Struct):
    metric: dict[str, str]
    value: tuple[float, str]


class _Data(msgspec.Struct, rename="camel"):
    result_type: str = ""
    result: list[_Series] = []


class _Answer(msgspec.Struct, rename="camel"):
    status: str
    data: _Data = msgspec.field(default_factory=_Data)
    error: str = ""


class Sampler:
    """Keeps `look` at the newest round; `on_look` hears of each."""

    def __init__(
        self,
        options: settings.Settings,
        on_look: Callable[[samples.Look], None],
        time_source: clock.Clock | None = None,
    ) -> None:
        self._options = options
        self._clock = time_source or clock.SystemClock()
        self._on_look = on_look
        self._queries = queries.build(options.prometheus_window)
        self.look = samples.NOT_ASKED

    async def run(self) -> None:
        """Asks until cancelled; returns at once where no Prometheus is configured."""
        if not self._options.prometheus_url:
            self.look = samples.Look(number=1, at_s=self._clock.now().timestamp(), error=NOT_CONFIGURED)
            self._on_look(self.look)
            return
        timeout = aiohttp.ClientTimeout(total=self._options.prometheus_timeout_s)
        connector = aiohttp.TCPConnector(ssl=_build_tls(self._options), limit=4)
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False, connector=connector) as session:
            while True:
                await self.step(session)
                await asyncio.sleep(self._options.prometheus_interval_s)

    async def step(self, session: aiohttp.ClientSession) -> None:
        """One round: all queries or an error, never a part that would pass for the whole."""
        number = self.look.number + 1
        try:
            async with asyncio.timeout(2 * self._options.prometheus_timeout_s):
                answers = await asyncio.gather(*(self._ask(session, text) for text in self._queries.values()))
        except (PrometheusError, TimeoutError) as error:
            text = str(error) or f"Prometheus took longer than {2 * self._options.prometheus_timeout_s:g} s"
            if text != self.look.error:
                _LOG.warning("no samples: %s", text)
            self.look = samples.Look(number, self._clock.now().timestamp(), error=text[:512])
        else:
            pods = join(dict(zip(self._queries, answers, strict=True)))
            self.look = samples.Look(number, self._clock.now().timestamp(), pods)
        self._on_look(self.look)

    async def _ask(self, session: aiohttp.ClientSession, query: str) -> Mapping[PodKey, float]:
        url = f"{self._options.prometheus_url.rstrip('/')}/api/v1/query"
        limit = {"timeout": f"{self._options.prometheus_timeout_s:g}s"}
        try:
            headers = self._read_headers()
            request = session.post(url, data={"query": query} | limit, headers=headers, allow_redirects=False)
            async with request as response:
                body = await _read_at_most(response, LARGEST_ANSWER)
                if response.status != 200:
                    raise PrometheusError(f"Prometheus answered {response.status}: {_describe(body)}")
        except (aiohttp.ClientError, OSError) as error:
            if isinstance(error, TimeoutError):
                raise PrometheusError("Prometheus did not answer in time") from error
            raise PrometheusError(f"Prometheus cannot be asked: {error}") from error
        return parse(body)

    def _read_headers(self) -> dict[str, str]:
        token = _find_secret(self._options, "token")
        return {"Authorization": f"Bearer {token.read_text().strip()}"} if token else {}


def parse(body: bytes) -> Mapping[PodKey, float]:
    """The value of each pod; what is no finite number, or negative, is left out.

    Raises:
        PrometheusError: it is not the answer of an instant query.
    """
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except msgspec.MsgspecError as error:
        raise PrometheusError(f"the answer is not Prometheus's: {error}") from error
    if answer.status != "success" or answer.data.result_type != "vector":
        raise PrometheusError(answer.error or f"the answer is a {answer.data.result_type or answer.status}")
    found: dict[PodKey, float] = {}
    for series in answer.data.result:
        namespace, pod = series.metric.get("namespace"), series.metric.get("pod")
        value = _to_number(series.value[1])
        if namespace and pod and value is not None:
            found[namespace, pod] = max(value, found.get((namespace, pod), value))
    return found


def join(answers: Mapping[queries.Field, Mapping[PodKey, float]]) -> Mapping[PodKey, samples.PodSample]:
    """All fields of each pod; one whose age is unknown is left out."""
    fields: dict[PodKey, dict[str, float]] = defaultdict(dict)
    for field, values in answers.items():
        for key, value in values.items():
            fields[key][field] = value
    return {key: samples.PodSample(**found) for key, found in fields.items() if "age_s" in found}


def _to_number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _describe(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_Answer).error[:300]
    except msgspec.MsgspecError:
        return body[:100].decode(errors="replace")


async def _read_at_most(response: aiohttp.ClientResponse, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > limit:
            raise PrometheusError(f"the answer is longer than {limit} bytes")
        parts.append(part)
    return b"".join(parts)


def _build_tls(options: settings.Settings) -> ssl.SSLContext | bool:
    if not options.prometheus_url.startswith("https"):
        return True
    context = ssl.create_default_context(cafile=_find_secret(options, "ca.crt"))
    if certificate := _find_secret(options, "tls.crt"):
        context.load_cert_chain(certificate, _find_secret(options, "tls.key"))
    return context


def _find_secret(options: settings.Settings, name: str) -> pathlib.Path | None:
    path = pathlib.Path(options.prometheus_secret_dir, name)
    return path if options.prometheus_secret_dir and path.exists() else None

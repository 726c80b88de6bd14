"""Asks Prometheus, in a task of its own, what it knows of all Triton pods: one query per signal.

An answer is bounded in time and size, and is not redirected. Without Triton's own signals there are no
samples at all; what comes from elsewhere (DCGM, engines, a gateway) may be lacking and is noted then.
"""

from __future__ import annotations

import asyncio
import logging
import pathlib
import ssl
from collections.abc import Callable, Iterable, Mapping

import aiohttp

from gpufleet import clock, settings
from gpufleet.observe import answers, pod_http, queries
from gpufleet.state import samples

LARGEST_ANSWER = 32 * 2**20
"""Bytes; a query over ten thousand pods answers about a tenth of it."""

NOT_CONFIGURED = "no Prometheus is configured: set prometheus.url of the chart"
CONNECTIONS = 4
"""Queries that Prometheus works on for us at the same time."""

_LOG = logging.getLogger(__name__)
_SECRETS = ("ca.crt", "tls.crt", "tls.key")
# Thanos' name and VictoriaMetrics': a part that would pass for the whole is refused where it is made.
_PARTIAL = {False: {"partial_response": "false", "deny_partial_response": "1"}, True: {}}


class Asker:
    """One query to Prometheus, bounded in time and size and not redirected."""

    def __init__(self, options: settings.Settings) -> None:
        self._options = options
        self._tls: tuple[object, ssl.SSLContext | bool] | None = None

    def open(self) -> aiohttp.ClientSession:
        """Connections for one round.

        None is kept so long that a proxy has closed it, and certificates may be changed at any time. Raises
        answers.PrometheusError.
        """
        timeout = aiohttp.ClientTimeout(total=self._options.prometheus_timeout_s)
        connector = aiohttp.TCPConnector(ssl=self._find_tls(), limit=CONNECTIONS)
        return aiohttp.ClientSession(timeout=timeout, trust_env=False, connector=connector)

    async def ask(self, session: aiohttp.ClientSession, query: str) -> answers.Vector:
        """What there is now. Raises answers.PrometheusError."""
        body = await self._post(session, "query", {"query": query})
        return answers.parse(body, self._options.prometheus_allow_partial)

    async def ask_range(
        self, session: aiohttp.ClientSession, query: str, from_s: float, until_s: float, step_s: float
    ) -> dict[answers.ServiceKey, list[tuple[float, float]]]:
        """What there was at each step, both ends included. Raises answers.PrometheusError."""
        form = {"query": query, "start": f"{from_s:.0f}", "end": f"{until_s:.0f}", "step": f"{step_s:.0f}"}
        body = await self._post(session, "query_range", form)
        return answers.parse_range(body, self._options.prometheus_allow_partial)

    async def _post(self, session: aiohttp.ClientSession, path: str, form: Mapping[str, str]) -> bytes:
        url = f"{self._options.prometheus_url.rstrip('/')}/api/v1/{path}"
        wanted = {
            **form,
            "timeout": f"{self._options.prometheus_timeout_s:g}s",
            **_PARTIAL[self._options.prometheus_allow_partial],
        }
        try:
            headers = self._read_headers()
            request = session.post(url, data=wanted, headers=headers, allow_redirects=False)
            async with request as response:
                body = await pod_http.read_at_most(response, LARGEST_ANSWER)
                if response.status != 200:
                    raise answers.PrometheusError(
                        f"Prometheus answered {response.status}: {answers.describe(body)}"
                    )
        except pod_http.TooLongError as error:
            raise answers.PrometheusError(str(error)) from error
        except TimeoutError as error:
            raise answers.PrometheusError("Prometheus did not answer in time") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise answers.PrometheusError(f"Prometheus cannot be asked: {error}") from error
        return body

    def _read_headers(self) -> dict[str, str]:
        """Read for every query: a token may be replaced at any time."""
        path = _find_secret(self._options, "token")
        if path is None:
            return {}
        token = path.read_bytes().strip()
        if not token.isascii() or len(token.split()) != 1:
            raise answers.PrometheusError(f"{path} is not one line of ASCII")
        return {"Authorization": f"Bearer {token.decode()}"}

    def _find_tls(self) -> ssl.SSLContext | bool:
        """Made anew when a file has changed."""
        paths = [_find_secret(self._options, name) for name in _SECRETS]
        try:
            stamp = [(path, path and path.stat().st_mtime_ns) for path in paths]
            if self._tls is None or self._tls[0] != stamp:
                self._tls = stamp, _build_tls(self._options.prometheus_url, *paths)
        except (OSError, ValueError) as error:
            raise answers.PrometheusError(f"{', '.join(_SECRETS)} cannot be used: {error}") from error
        return self._tls[1]


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
        self._asker = Asker(options)
        self.look = samples.NOT_ASKED

    async def run(self) -> None:
        """Asks until cancelled; returns at once where no Prometheus is configured."""
        if not self._options.prometheus_url:
            self._tell(samples.Look(number=1, at_s=self._clock.now().timestamp(), error=NOT_CONFIGURED))
            return
        while True:
            await self.step()
            await asyncio.sleep(self._options.prometheus_interval_s)

    async def step(self) -> None:
        """One round: all required queries or an error, never a part that would pass for the whole."""
        number = self.look.number + 1
        try:
            vectors, notes = await self._ask_all()
        except answers.PrometheusError as error:
            self._tell(samples.Look(number, self._clock.now().timestamp(), error=str(error)[:512]))
        else:
            dcgm = self._options.prometheus_dcgm_namespace
            # Half a second for ten thousand pods, in which the event loop has other things to do.
            pods, waiting = await asyncio.to_thread(answers.join, vectors, self._queries, dcgm)
            now_s = self._clock.now().timestamp()
            self._tell(samples.Look(number, now_s, pods, waiting=waiting, notes=notes))

    def _tell(self, look: samples.Look) -> None:
        if look.error and look.error != self.look.error:
            _LOG.warning("no samples: %s", look.error)
        if look.notes and look.notes != self.look.notes:
            _LOG.warning("some signals are lacking: %s", "; ".join(look.notes))
        self.look = look
        self._on_look(look)

    async def _ask_all(self) -> tuple[Mapping[queries.Name, answers.Vector], tuple[str, ...]]:
        """The answers that there are, and why there is no other."""
        required = [name for name, query in self._queries.items() if query.required]
        others = [name for name, query in self._queries.items() if not query.required]
        async with self._asker.open() as session:
            found = await self._ask_each(session, required)
            for result in found.values():
                if isinstance(result, answers.PrometheusError):
                    raise result
            found |= await self._ask_each(session, others)
        vectors = {name: one for name, one in found.items() if isinstance(one, answers.Vector)}
        return vectors, _describe(found)

    async def _ask_each(
        self, session: aiohttp.ClientSession, names: Iterable[queries.Name]
    ) -> dict[queries.Name, answers.Vector | answers.PrometheusError]:
        """All at once: what waits for a free connection has no more time than the others."""

        async def ask(name: queries.Name) -> answers.Vector | answers.PrometheusError:
            try:
                return await self._asker.ask(session, self._queries[name].text)
            except answers.PrometheusError as error:
                return error

        wanted = list(names)
        results = await asyncio.gather(*(ask(name) for name in wanted))
        return dict(zip(wanted, results, strict=True))


def _describe(found: Mapping[queries.Name, answers.Vector | answers.PrometheusError]) -> tuple[str, ...]:
    """What is lacking, once for all queries that say the same."""
    said: dict[str, list[str]] = {}
    for name, result in found.items():
        text = str(result) if isinstance(result, answers.PrometheusError) else result.missing
        if text:
            said.setdefault(text[:256], []).append(name)
    return tuple(f"{', '.join(names)}: {text}" for text, names in said.items())


def _build_tls(
    url: str, ca: pathlib.Path | None, certificate: pathlib.Path | None, key: pathlib.Path | None
) -> ssl.SSLContext | bool:
    if not url.startswith("https"):
        return True
    context = ssl.create_default_context(cafile=ca)
    if certificate:
        context.load_cert_chain(certificate, key)
    return context


def _find_secret(options: settings.Settings, name: str) -> pathlib.Path | None:
    path = pathlib.Path(options.prometheus_secret_dir, name)
    return path if options.prometheus_secret_dir and path.exists() else None

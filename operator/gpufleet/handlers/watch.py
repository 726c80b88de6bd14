"""kopf's part: its settings, and the watch of our own kinds. A handler only notes what it was told."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any, cast

import kopf

from gpufleet import settings
from gpufleet.api import crd, meta

STOP_TIMEOUT_S = 10.0

Note = Callable[[str, str | None, dict[str, Any]], None]


def build_registry(options: settings.Settings, note_event: Note) -> kopf.OperatorRegistry:
    """Handlers that hand every event of our own kinds to `note_event(kind, type, object)`."""
    registry = kopf.OperatorRegistry()

    @kopf.on.startup(registry=registry, id="configure")  # type: ignore[untyped-decorator]
    def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        configure_kopf(settings, options)

    @kopf.on.login(registry=registry, id="login")  # type: ignore[untyped-decorator]
    def login(**given: Any) -> Any:
        return kopf.login_via_client(**given)

    for kind in (one for one in crd.KINDS if not one.is_record):
        _add_event_handler(registry, kind, note_event)
    return registry


def configure_kopf(kopf_settings: kopf.OperatorSettings, options: settings.Settings) -> None:
    """Bounded requests, and nothing of kopf's own on objects."""
    kopf_settings.persistence.finalizer = f"{meta.GROUP}/finalizer"
    kopf_settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=f"kopf.{meta.GROUP}")
    kopf_settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=f"kopf.{meta.GROUP}")
    kopf_settings.networking.request_timeout = options.request_timeout_s
    kopf_settings.networking.trust_env = True
    kopf_settings.watching.server_timeout = 300
    kopf_settings.watching.connect_timeout = options.request_timeout_s
    kopf_settings.watching.chunk_size = 500
    kopf_settings.posting.enabled = False
    # The watch of the CRDs is what ends and begins the watches of our kinds as they go and come.
    kopf_settings.scanning.disabled = False
    kopf_settings.queueing.idle_timeout = 1.0


def _add_event_handler(registry: kopf.OperatorRegistry, kind: crd.Kind, note_event: Note) -> None:
    name = kind.kind

    @kopf.on.event(meta.GROUP, meta.VERSION, kind.plural, registry=registry, id=f"note-{kind.plural}")  # type: ignore[untyped-decorator]
    async def note(event: Any, **_: Any) -> None:
        note_event(name, event["type"], event["object"])


class WatchEndedError(Exception):
    """kopf has ended by itself; only a new process watches again."""


async def run(options: settings.Settings, note_event: Note) -> None:
    """Runs kopf until cancelled, in a thread and loop of its own.

    kopf cancels all tasks of its loop when it ends and takes over the signals of the main thread.

    Raises:
        WatchEndedError: kopf has ended by itself.
    """
    loop = asyncio.get_running_loop()
    stop = threading.Event()

    def note(kind: str, event_type: str | None, raw: dict[str, Any]) -> None:
        loop.call_soon_threadsafe(note_event, kind, event_type, raw)

    running = asyncio.create_task(asyncio.to_thread(_run_kopf, build_registry(options, note), stop, options))
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait({running}, timeout=STOP_TIMEOUT_S)
        raise
    except Exception as error:
        raise WatchEndedError(f"kopf has failed: {error}") from error
    raise WatchEndedError("kopf has ended")


def _run_kopf(registry: kopf.OperatorRegistry, stop: threading.Event, options: settings.Settings) -> None:
    # It warns that it cannot take over the signals, which is what this thread is for.
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
    # Without an identity kopf asks for the name of the user, and in a container the user has none.
    identity = cast(Any, options.pod_name)
    watched = [name for name in options.namespaces if name]
    running = kopf.operator(
        registry=registry,
        standalone=True,
        clusterwide=not watched,
        namespaces=watched,
        stop_flag=stop,
        identity=identity,
    )
    asyncio.run(running)

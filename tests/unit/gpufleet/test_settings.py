from __future__ import annotations

import pytest

from gpufleet import settings


def test_environment_overrides_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUFLEET_HTTP_PORT", "9999")
    monkeypatch.setenv("GPUFLEET_POLL_AGENTS", "false")
    read = settings.Settings()
    assert (read.http_port, read.poll_agents) == (9999, False)


@pytest.mark.parametrize(
    ("given", "namespaces"),
    [
        pytest.param("", ("",), id="all of them"),
        pytest.param("b,a,b", ("a", "b"), id="each once, in order"),
    ],
)
def test_namespaces(given: str, namespaces: tuple[str, ...]) -> None:
    assert settings.Settings(watch_namespaces=given).namespaces == namespaces


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"lease_duration_s": 5.0, "lease_renew_s": 2.5}, id="no room for a second renewal"),
        pytest.param({"workers": 0}, id="no worker"),
        pytest.param({"request_timeout_s": 0.0}, id="no time for a request"),
        pytest.param({"watch_namespaces": "a, b"}, id="a name with a space"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, float | str]) -> None:
    with pytest.raises(ValueError):
        settings.Settings(**changes)  # type: ignore[arg-type]

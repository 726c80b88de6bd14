"""The judgements that are kept up bin by bin are those that looking back would give."""

from __future__ import annotations

import array
import math
import random

import pytest

from gpufleet.decide.autoscaling import backtest, smoothing

BOUND = 1e9


def run(values: list[float | None], period: int = 0) -> list[backtest.Track]:
    """The track after every bin."""
    tracks, track, known = [], backtest.Track(), array.array("f")
    track = track.repeat(period, b"")
    for value in values:
        known.append(math.nan if value is None else value)
        track = track.advance(value, known.tobytes(), BOUND)
        tracks.append(track)
    return tracks


def noisy(bins: int, gaps: tuple[int, ...] = ()) -> list[float | None]:
    chance = random.Random(3)
    return [
        None if one in gaps else float(round(50 + 30 * math.sin(one / 5) + chance.gauss(0, 5), 3))
        for one in range(bins)
    ]


@pytest.mark.parametrize(
    ("foreseen", "actual", "expected"),
    [
        pytest.param(10.0, 10.0, 0.0, id="right"),
        pytest.param(10.0, 14.0, 3.0, id="too low"),
        pytest.param(14.0, 10.0, 1.0, id="too high"),
    ],
)
def test_loss(foreseen: float, actual: float, expected: float) -> None:
    assert backtest.lose(foreseen, actual) == expected


@pytest.mark.parametrize("ahead", [1, 2, 5, 15])
@pytest.mark.parametrize("gaps", [pytest.param((), id="whole"), pytest.param((20, 21, 50), id="gaps")])
@pytest.mark.parametrize("period", [pytest.param(0, id="no season"), pytest.param(31, id="season")])
def test_against_looking_back(ahead: int, gaps: tuple[int, ...], period: int) -> None:
    values = noisy(120, gaps)
    tracks = run(values, period)
    last: dict[str, list[float]] = {"trend": [], "season": []}
    own: dict[str, list[float]] = {"trend": [], "season": []}
    for origin in range(len(values) - ahead):
        then = [one for one in values[origin + 1 : origin + 1 + ahead] if one is not None]
        start = values[origin]
        if start is None or len(then) < ahead:
            continue
        outlooks = {
            "trend": tracks[origin].follow_trend(ahead),
            "season": tracks[origin].repeat_season(ahead),
        }
        for name, outlook in outlooks.items():
            if outlook is not None:
                last[name].append(backtest.lose(start, max(then)))
                own[name].append(backtest.lose(outlook.limit(BOUND).peak, max(then)))
    races = {"trend": tracks[-1].trends[ahead - 1], "season": tracks[-1].seasons[ahead - 1]}
    for name, race in races.items():
        assert race.points == len(own[name])
        assert race.last == pytest.approx(decay(last[name]))
        assert race.candidate == pytest.approx(decay(own[name]))
    assert bool(races["season"].points) == bool(period)


def decay(losses: list[float]) -> float:
    """Their sum, where each weighs half after `HALF_LIFE` later ones."""
    return sum(loss * 0.5 ** (age / backtest.HALF_LIFE) for age, loss in enumerate(reversed(losses)))


def test_origins_are_bounded() -> None:
    assert max(len(track.origins) for track in run(noisy(100))) == smoothing.LONGEST


def test_another_period_is_judged_anew() -> None:
    track = run(noisy(120), 31)[-1]
    loads = array.array("f", [1.0] * 120).tobytes()
    other = track.repeat(40, loads)
    assert track.seasons[0].points
    assert not other.seasons[0].points
    assert other.trends == track.trends
    assert other.repeat_season(1) is None
    assert track.repeat(31, loads) is track


def test_no_line_reaches_over_a_break() -> None:
    track = run(noisy(120), 31)[-1].restart(b"")
    assert track.follow_trend(1) is None
    assert track.repeat_season(1) is None
    assert track.trends[0].points

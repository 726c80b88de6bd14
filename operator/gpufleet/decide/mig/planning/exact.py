"""The best choice of all in a small fleet, proven: GPU by GPU, with what cannot win cut off by prices.

Dynamic programming over supplies: two choices for the first GPUs that supply the same are one, the dearer
of which goes. Whatever the rest adds at the prices of the relaxed program is the most it can be worth.
"""

from __future__ import annotations

from collections.abc import Sequence

from gpufleet.decide.mig.planning import market, prices, search

_EPSILON = 1e-7


def find_best(
    wanted: market.Market,
    groups: Sequence[prices.Group],
    relaxed: prices.Relaxed,
    beat: float,
    most_steps: int,
) -> search.Counts | None:
    """A choice worth more than `beat`, the best there is; None if there is none or it is too much work."""
    order = [number for number, group in enumerate(groups) for _ in range(group.size)]
    constant = prices.worth_of_demand(wanted, relaxed.bound.prices)
    rest = [0.0] * (len(order) + 1)
    for place in range(len(order) - 1, -1, -1):
        rest[place] = rest[place + 1] + _best_at(groups[order[place]], relaxed.bound.prices)
    states: dict[tuple[int, ...], tuple[float, tuple[int, ...]]] = {(0,) * wanted.goods: (0.0, ())}
    for place, number in enumerate(order):
        most_steps -= len(states) * len(groups[number].choices.all)
        if most_steps < 0:
            return None
        follow: dict[tuple[int, ...], tuple[float, tuple[int, ...]]] = {}
        for supply, (cost, taken) in states.items():
            for option, found in enumerate(groups[number].choices.all):
                now = _add(supply, found.supply)
                spent = cost + found.cost
                at_prices = sum(
                    price * slices for price, slices in zip(relaxed.bound.prices, now, strict=True)
                )
                if constant + at_prices + rest[place + 1] - spent <= beat + _EPSILON:
                    continue
                if now not in follow or spent < follow[now][0]:
                    follow[now] = (spent, (*taken, option))
        states = follow
    return _read_best(wanted, order, states, beat)


def _read_best(
    wanted: market.Market,
    order: Sequence[int],
    states: dict[tuple[int, ...], tuple[float, tuple[int, ...]]],
    beat: float,
) -> search.Counts | None:
    best: tuple[float, tuple[int, ...]] | None = None
    for supply, (cost, taken) in sorted(states.items()):
        worth = wanted.worth(supply) - cost
        if worth > (best[0] if best else beat) + _EPSILON:
            best = (worth, taken)
    if best is None:
        return None
    counts: search.Counts = {}
    for number, option in zip(order, best[1], strict=True):
        counts[number, option] = counts.get((number, option), 0) + 1
    return counts


def _best_at(group: prices.Group, at: Sequence[float]) -> float:
    return max(
        sum(at[good] * slices for good, slices in option.supply) - option.cost for option in group.choices.all
    )


def _add(supply: tuple[int, ...], more: market.Supply) -> tuple[int, ...]:
    found = list(supply)
    for good, slices in more:
        found[good] += slices
    return tuple(found)

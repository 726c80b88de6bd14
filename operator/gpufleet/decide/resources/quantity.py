"""Quantities as the API server stores them, so that what is applied equals what is read back.

The rules are those of apimachinery's resource.Quantity (CanonicalizeBytes): the largest suffix that needs no
fraction, and decimal where a binary suffix would need one. Requests and limits are rounded up to milli-units.
"""

from __future__ import annotations

import fractions
import re

_DECIMAL = {"m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"": 0, "Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)([mkMGTPE]?|[KMGTPE]i)")
_FINEST = fractions.Fraction(1, 1000)


def canonical(quantity: str) -> str:
    """The same amount as the API server writes it: 1000m → 1, 0.5Gi → 512Mi.

    Raises:
        ValueError: it is not a quantity.
    """
    parts = _QUANTITY.fullmatch(quantity)
    if parts is None:
        raise ValueError(f"{quantity!r} is not a quantity: use a unit such as m, Mi or Gi")
    number, suffix = fractions.Fraction(parts[1]), parts[2]
    if suffix in _DECIMAL:
        return _write_decimal(number * fractions.Fraction(10) ** _DECIMAL[suffix])
    amount = number * 2 ** _BINARY[suffix]
    return _write_decimal(amount) if amount < 1024 or amount.denominator != 1 else _write_binary(int(amount))


def _write_binary(amount: int) -> str:
    suffix = next(one for one, power in reversed(_BINARY.items()) if amount % 2**power == 0)
    return f"{amount >> _BINARY[suffix]}{suffix}"


def _write_decimal(amount: fractions.Fraction) -> str:
    units = -(-amount // _FINEST)
    if units == 0:
        return "0"
    suffix = next(one for one, power in reversed(_DECIMAL.items()) if units % 10 ** (power + 3) == 0)
    return f"{units // 10 ** (_DECIMAL[suffix] + 3)}{suffix}"

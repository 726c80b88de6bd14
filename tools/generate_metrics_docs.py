"""Write docs/metrics.md from the metrics that the operator defines.

With --check, write nothing and fail if the page differs from what would be written.
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client import metrics as client_metrics

from gpufleet.report import metrics, objects

ROOT = pathlib.Path(__file__).parents[1]
PAGE = ROOT / "docs" / "metrics.md"
UNITS = ("seconds", "bytes", "watts", "joules", "ratio")

HEAD = """\
# Metrics of the operator

Port 8080, path `/metrics`, on every replica. Written by `make generate` from `operator/gpufleet/report`.

- Only the leader works: select it with `and on (pod) gpufleet_leader == 1`. Single objects it alone tells of.
- Base units; a counter ends in `_total`, a histogram has `_bucket`, `_sum` and `_count`.
- Names of objects are in `object_namespace`, `object_name`, `object_pod`, `tritonservice` and `trainingjob`,
  which no scrape sets: `honorLabels` makes no difference, and `namespace` and `pod` stay the operator's.
  The recording rules give `namespace` and `pod` their usual meaning ([dashboards](dashboards.md)).
- Labels are bounded: kinds, verbs and reasons are constants. Services, and jobs that have not ended, have
  series of their own up to `metrics.objects` of each kind, the first by name; `gpufleet_objects_left_out`
  counts the others.
- What Triton and DCGM tell is theirs: [autoscaling](autoscaling.md#what-prometheus-is-asked) lists it.
  `process_*` and `python_*` are those of the Python client.
"""


@dataclasses.dataclass(frozen=True)
class Row:
    """One metric of the page."""

    name: str
    kind: str
    meaning: str
    labels: tuple[str, ...]

    @property
    def unit(self) -> str:
        """By the end of its name, as Prometheus has it; a timestamp counts from the epoch."""
        base = self.name.removesuffix("_total")
        if base.endswith("_timestamp_seconds"):
            return "seconds since 1970"
        if base.endswith(("_info", "_up", "_leader")):
            return "0 or 1"
        return next((unit for unit in UNITS if base.endswith(f"_{unit}")), "number")


def read_rows(module: Any) -> Iterator[Row]:
    """Every metric that is a constant of this module, in its order."""
    for value in vars(module).values():
        if isinstance(value, client_metrics.MetricWrapperBase):
            [described] = value.describe()
            name = f"{described.name}_total" if described.type == "counter" else described.name
            yield Row(name, described.type, described.documentation, tuple(value._labelnames))


def read_families(families: Iterable[objects.Family]) -> Iterator[Row]:
    for one in families:
        yield Row(one.name, "gauge", one.help, one.labels)


def render() -> str:
    """The whole page."""
    parts = [
        HEAD,
        "## Of the process\n",
        _table(read_rows(metrics)),
        "\n## Of objects and devices\n",
        _table(read_families(objects.FAMILIES)),
    ]
    return "\n".join(parts) + "\n"


def _table(rows: Iterable[Row]) -> str:
    lines = ["| Metric | Type | Unit | Labels | Meaning |", "|---|---|---|---|---|"]
    for row in rows:
        labels = ", ".join(f"`{label}`" for label in row.labels)
        lines.append(f"| `{row.name}` | {row.kind} | {row.unit} | {labels} | {row.meaning} |")
    return "\n".join(lines)


def main() -> int:
    wanted = render()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(wanted)
        return 0
    if not PAGE.exists() or PAGE.read_text() != wanted:
        print(f"out of date, run `make generate`: {PAGE.relative_to(ROOT)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Boards → Grafana's JSON, by its own SDK."""

from __future__ import annotations

from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog import encoder
from grafana_foundation_sdk.models import common as models
from grafana_foundation_sdk.models import dashboard as dashboard_models

from tools.dashboards import board as boards

HEIGHT = 8
STEP = "30s"
"""Rules are evaluated as often: a finer step draws the same points, and costs Prometheus more."""
TAG = "gpufleet"
SOURCE = dashboard_models.DataSourceRef(type_val="prometheus", uid="${datasource}")


def render(board: boards.Board) -> str:
    """The JSON of a board, to be written into a file."""
    built = (
        dashboard.Dashboard(board.title)
        .uid(f"{TAG}-{board.name}")
        .description(board.meaning)
        .tags([TAG])
        .readonly()
        .refresh("30s")
        .time("now-1h", "now")
        .timezone("browser")
        .tooltip(dashboard_models.DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        .link(
            dashboard.DashboardLink("Boards of gpufleet")
            .type(dashboard_models.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(True)
            .keep_time(True)
        )
    )
    for choice in board.choices:
        built = built.with_variable(_build_choice(choice))
    for row in board.rows:
        built = built.with_row(dashboard.Row(row.title))
        for panel in row.panels:
            built = built.with_panel(_build_panel(panel))
    return encoder.JSONEncoder(sort_keys=True, indent=1).encode(built.build()) + "\n"


def _build_choice(choice: boards.Choice | boards.Text) -> dashboard.QueryVariable | dashboard.TextBoxVariable:
    if isinstance(choice, boards.Text):
        return dashboard.TextBoxVariable(choice.name).label(choice.label).default_value(choice.default)
    return (
        dashboard.QueryVariable(choice.name)
        .label(choice.name.capitalize())
        .datasource(SOURCE)
        .query(f"label_values({choice.series}, {choice.label})")
        .refresh(dashboard_models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard_models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(dashboard_models.VariableOption(text="All", value="$__all", selected=True))
    )


def _build_panel(panel: boards.Panel) -> timeseries.Panel | stat.Panel | bargauge.Panel:
    built = {
        "lines": _build_lines,
        "stack": _build_lines,
        "number": _build_number,
        "bars": _build_bars,
    }[panel.kind](panel)
    built = (
        built.title(panel.title)
        .description(panel.meaning)
        .datasource(SOURCE)
        .unit(panel.unit)
        .min(0)
        .interval(STEP)
        .height(HEIGHT)
        .span(panel.width)
    )
    if panel.top is not None:
        built = built.max(panel.top)
    for number, query in enumerate(panel.queries):
        built = built.with_target(_build_query(query, chr(ord("A") + number), panel.kind))
    return built


def _build_query(query: boards.Query, ref: str, kind: boards.Kind) -> prometheus.Dataquery:
    built = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(ref)
    return built.instant() if kind == "bars" else built.range()


def _build_lines(panel: boards.Panel) -> timeseries.Panel:
    legend = (
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(models.LegendDisplayMode.LIST)
        .placement(models.LegendPlacement.BOTTOM)
        .calcs([])
    )
    built = (
        timeseries.Panel()
        .line_width(1)
        .fill_opacity(10)
        .show_points(models.VisibilityMode.NEVER)
        .tooltip(common.VizTooltipOptions().mode(models.TooltipDisplayMode.MULTI))
        .legend(legend)
    )
    if panel.kind == "stack":
        built = built.fill_opacity(60).stacking(common.StackingConfig().mode(models.StackingMode.NORMAL))
    return built


def _build_number(panel: boards.Panel) -> stat.Panel:
    return (
        stat.Panel()
        .graph_mode(models.BigValueGraphMode.AREA)
        .color_mode(models.BigValueColorMode.VALUE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )


def _build_bars(panel: boards.Panel) -> bargauge.Panel:
    return (
        bargauge.Panel()
        .orientation(models.VizOrientation.HORIZONTAL)
        .display_mode(models.BarGaugeDisplayMode.BASIC)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )

"""Grafana's boards as data: a panel is a few lines of its board's module; `grafana` makes JSON of them."""

from tools.dashboards import fleet, mig, operator, serving, training

BOARDS = (fleet.BOARD, serving.BOARD, training.BOARD, mig.BOARD, operator.BOARD)

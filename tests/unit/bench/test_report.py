from __future__ import annotations

import pytest

from tests.bench import report


@pytest.mark.parametrize(
    ("row", "code", "shown"),
    [
        pytest.param(report.Row("up", 30.0, "s", goal=40.0), 0, "yes", id="within its goal"),
        pytest.param(report.Row("up", 40.0, "s", goal=40.0), 0, "yes", id="exactly its goal"),
        pytest.param(report.Row("up", 40.1, "s", goal=40.0), 1, "NO", id="beyond its goal"),
        pytest.param(
            report.Row("up", 99.0, "s", baseline=50.0), 0, "50.0", id="without a goal it only shows"
        ),
    ],
)
def test_exit_code_follows_the_goals(row, code, shown, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        report.finish("title", [row])
    assert stopped.value.code == code
    assert shown in capsys.readouterr().out


def test_one_missed_goal_fails_the_table() -> None:
    rows = [report.Row("a", 1, "s", goal=2), report.Row("b", 3, "s", goal=2)]
    with pytest.raises(SystemExit) as stopped:
        report.finish("title", rows)
    assert stopped.value.code == 1

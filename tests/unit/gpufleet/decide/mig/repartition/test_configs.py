"""mig-manager's file: names by content, other people's lines, what is collected, and its size."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpufleet.decide.mig import catalogue, geometry
from gpufleet.decide.mig.repartition import configs
from gpufleet.simgpu import migconfig
from gpufleet.state import mig, names
from tests.unit.gpufleet.decide.mig.repartition import builders_mig as b

LAYOUT = mig.Layout.of({0: {b.ONE: 7}, 1: None, 2: {b.ONE: 7}, 3: {}})
NAME = configs.choose_name(LAYOUT, ())
NEEDS = configs.Needs({NAME: LAYOUT})
THEIRS = """version: v1
mig-configs:
    # written by hand
    mine:
        - devices: all
          mig-enabled: true
          mig-devices: {"1g.10gb": 7}
"""


def test_a_configuration_says_what_each_gpu_is_to_be() -> None:
    text = configs.plan_file(None, NEEDS).text
    assert text is not None
    entries = migconfig.parse(text)[NAME]
    assert [(entry.devices, entry.mig_enabled, entry.mig_devices) for entry in entries] == [
        ((0, 2), True, {b.ONE: 7}),
        ((1,), False, {}),
        ((3,), True, {}),
    ]


def test_names_follow_the_content_and_avoid_what_is_taken() -> None:
    assert configs.choose_name(LAYOUT, ()) == NAME
    assert configs.choose_name(mig.Layout.of({0: {b.ONE: 6}}), ()) != NAME
    salted = configs.choose_name(LAYOUT, {NAME})
    assert salted != NAME
    assert configs.choose_name(LAYOUT, {NAME, salted}) not in (NAME, salted)
    assert NAME.startswith(names.MIG_CONFIG_PREFIX)
    assert len(NAME) <= 63, "it is a label's value"


@pytest.mark.parametrize(
    ("live", "needs", "writes", "published"),
    [
        pytest.param(None, configs.Needs(), False, set(), id="nothing is needed and nothing is there"),
        pytest.param(None, NEEDS, True, set(), id="the first"),
        pytest.param(configs.plan_file(None, NEEDS).text, NEEDS, False, {NAME}, id="it is there"),
        pytest.param(configs.plan_file(None, NEEDS).text, configs.Needs(), True, set(), id="collected"),
        pytest.param(
            configs.plan_file(None, NEEDS).text,
            configs.Needs(kept=frozenset({NAME})),
            False,
            {NAME},
            id="a label's",
        ),
        pytest.param(
            (configs.plan_file(None, NEEDS).text or "").replace(":7", ":6"),
            NEEDS,
            True,
            set(),
            id="edited by hand",
        ),
        pytest.param("version: v1\nmig-configs: {}\n", NEEDS, True, set(), id="an empty mapping"),
        pytest.param(THEIRS, configs.Needs(), False, set(), id="theirs alone"),
    ],
)
def test_what_is_written(live: str | None, needs: configs.Needs, writes: bool, published: set[str]) -> None:
    found = configs.plan_file(live, needs)
    assert (found.text is not None, found.published) == (writes, published)
    if found.text:
        assert set(needs.layouts) <= migconfig.parse(found.text).keys()


RIGHT = configs.plan_file(None, NEEDS).text
OURS = {names.MANAGED_BY: names.MANAGER}


@pytest.mark.parametrize(
    ("live", "labels", "needs", "expected"),
    [
        pytest.param(None, {}, configs.Needs(), None, id="nothing is there, nothing is needed"),
        pytest.param(None, {}, NEEDS, RIGHT, id="it is made"),
        pytest.param(RIGHT, OURS, NEEDS, None, id="it is so"),
        pytest.param(RIGHT, {}, NEEDS, RIGHT, id="it is so, and the watch does not show it"),
        pytest.param(THEIRS, {"app": "x"}, configs.Needs(), THEIRS, id="theirs alone, not shown"),
        pytest.param(THEIRS, OURS, configs.Needs(), None, id="theirs alone, shown"),
    ],
)
def test_what_is_not_shown_is_written_as_it_is(
    live: str | None, labels: dict[str, str], needs: configs.Needs, expected: str | None
) -> None:
    assert configs.plan_write(live, labels, needs) == expected


def test_what_people_have_written_stays_word_for_word() -> None:
    both = configs.plan_file(THEIRS, NEEDS).text
    assert both is not None
    assert migconfig.parse(both).keys() == {"mine", NAME}
    assert configs.plan_file(both, configs.Needs()).text == THEIRS


@pytest.mark.parametrize(
    "live",
    [
        pytest.param("{", id="no YAML"),
        pytest.param("[]", id="a list"),
        pytest.param("version: v2\nmig-configs:\n", id="another version"),
        pytest.param("version: v1\n", id="no configurations"),
        pytest.param("version: v1\nmig-configs: 3\n", id="no mapping"),
        pytest.param("version: v1\nmig-configs: {a: []}\n", id="on one line"),
    ],
)
def test_nothing_is_written_beside_what_cannot_be_read(live: str) -> None:
    with pytest.raises(configs.ConfigFileError, match=configs.KEY):
        configs.plan_file(live, NEEDS)


def test_a_label_whose_configuration_is_gone_is_told() -> None:
    needs = configs.Needs({NAME: LAYOUT}, labelled=frozenset({NAME}))
    assert configs.plan_file(None, needs).lost == {NAME}
    assert configs.plan_file(configs.plan_file(None, needs).text, needs).lost == frozenset()


def test_what_nodes_need_is_what_they_are_and_may_become() -> None:
    change = b.make_change([{b.ONE: 7}], [{b.THREE: 2}])
    wanted = mig.Wanted(LAYOUT, NAME)
    nodes = [
        b.read(b.make_node({b.ONE: 7}, change=change)),
        b.read(b.make_node({b.ONE: 7}, annotations={names.MIG_WANTED_ANNOTATION: wanted.to_text()})),
        b.read(b.make_node({b.ONE: 7}, label="gpufleet-000000000000")),
        b.read(b.make_node({b.ONE: 7}, label="mine")),
    ]
    found = configs.find_needs(nodes)
    assert found.layouts == {change.config: change.to, change.back_config: change.back, NAME: LAYOUT}
    assert found.kept == {"gpufleet-000000000000"}


MODEL = catalogue.model_of_product(b.H100)
assert MODEL is not None
CUTS = [mig.counts_of(layout.counts) for layout in geometry.enumerate_layouts(MODEL)]


def make_fleet(nodes: int, distinct: int) -> configs.Needs:
    """Nodes of eight GPUs, each with so many distinct layouts among them, hardly two nodes alike."""
    rng = random.Random(1)
    layouts = {}
    for _ in range(nodes):
        pool = rng.sample(CUTS, k=distinct)
        layout = mig.Layout(tuple((index, rng.choice(pool)) for index in range(8)))
        layouts[configs.choose_name(layout, ())] = layout
    return configs.Needs(layouts)


def test_three_thousand_nodes_fit_into_a_config_map() -> None:
    found = configs.plan_file(None, make_fleet(3_000, distinct=3))
    assert found.size < configs.LIMIT_BYTES < 2**20
    assert found.text is not None
    assert configs.plan_file(found.text, make_fleet(3_000, distinct=3)).text is None


@given(st.lists(st.dictionaries(st.integers(0, 7), st.sampled_from([*CUTS, None]), min_size=1), max_size=5))
def test_what_is_written_is_read_back(layouts: list[dict[int, mig.Counts | None]]) -> None:
    wanted = [mig.Layout(tuple(sorted(one.items()))) for one in layouts]
    needs = configs.Needs({configs.choose_name(one, ()): one for one in wanted})
    text = configs.plan_file(None, needs).text
    assert (text is None) == (not wanted)
    parsed = migconfig.parse(text) if text else {}
    for name, layout in needs.layouts.items():
        said = {
            index: mig.counts_of(entry.mig_devices) if entry.mig_enabled else None
            for entry in parsed[name]
            for index in entry.devices
            if isinstance(index, int)
        }
        assert said == layout.by_index

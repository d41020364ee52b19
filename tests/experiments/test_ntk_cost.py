"""The kernel's cost experiment end to end at its smallest, and the parts its figures rest on."""

import csv
import json
import sys

import jax
import numpy as np
import pytest

from experiments import _ntk_exponents, _ntk_measure, _ntk_networks, _ntk_sides, ntk_cost
from experiments._ntk_networks import CASES, Setting
from ntk import _methods, empirical_ntk

METHODS = set(_methods.METHODS)
TINY = [name for name in CASES if name.endswith("tiny")]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    out = tmp_path_factory.mktemp("cost")
    with jax.enable_x64(False):
        rows = ntk_cost.main(["--tiny", "--cases", "fc-tiny", "--rounds", "1", "--out", str(out)])
    return rows, out


def read(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_every_method_has_figures(outcome):
    rows, _ = outcome
    cases = [row for row in rows if row["case"] == "fc-tiny"]
    assert {row["method"] for row in cases} == METHODS | {"auto"}
    for row in rows:
        assert row["operations"] > 0
        assert row["temporary_bytes"] > 0
        assert row["seconds"] > 0
        assert row["relative_difference"] < 1e-5
        assert row["note"] == ""


def test_auto_is_the_chosen_methods_program(outcome):
    rows, _ = outcome
    auto, *methods = (row for row in rows if row["case"] == "fc-tiny")
    chosen = next(row for row in methods if row["method"] == auto["chosen"])
    assert {**auto, "method": chosen["method"]} == chosen


def test_the_choice_is_compared_with_the_fastest_of_each_setting():
    def row(method, seconds, n=1, side="ours"):
        return {"case": "a", "network": "b", "width": 1, "n": n, "d": 1, "side": side,
                "method": method, "seconds": seconds}  # fmt: skip

    rows = [row("auto", 3.0), row("x", 3.0), row("y", 2.0), row("z", ""), row("x", 1.0, side="p")]
    # One method alone says nothing.
    rows += [row("auto", 3.0, n=2), row("x", 3.0, n=2)]
    assert [(a["n"], ratio) for a, ratio in _ntk_measure.choices(rows)] == [(1, 1.5)]


def test_files_are_written_whole(outcome):
    rows, out = outcome
    cases, sweeps = read(out / "ntk_cost.csv"), read(out / "ntk_cost_sweeps.csv")
    assert len(cases) + len(sweeps) == len(rows)
    assert tuple(cases[0]) == tuple(sweeps[0]) == ntk_cost.COLUMNS
    assert tuple(read(out / "ntk_cost_exponents.csv")[0]) == _ntk_exponents.COLUMNS
    for name in ("", "_seconds", "_operations", "_temporary_bytes"):
        assert (out / f"ntk_cost{name}.png").read_bytes()[:4] == b"\x89PNG"
    settings = json.loads((out / "ntk_cost.json").read_text())
    assert settings["cases"]["fc-tiny"]["width"] == 8
    assert settings["ours"]["jax"] == jax.__version__
    assert settings["peer"] is None
    assert not list(out.glob("*.part*"))


def test_nothing_is_measured_twice(outcome, monkeypatch):
    rows, out = outcome
    monkeypatch.setattr(ntk_cost, "measure", None)
    line = ["--tiny", "--cases", "fc-tiny", "--parts", "cases", "sweeps", "--out", str(out)]
    with jax.enable_x64(False):
        again = ntk_cost.main([*line, "--rounds", "1"])
        assert again == rows
        # Under other limits it would be.
        with pytest.raises(TypeError, match="not callable"):
            ntk_cost.main([*line, "--rounds", "2"])


def test_a_case_without_the_peer_is_measured_with_it(tmp_path, monkeypatch):
    calls = []

    def measure(case, setting, ours, peer, limits):
        calls.append(peer)
        row = dict.fromkeys(_ntk_measure.COLUMNS, "")
        row |= {"case": case, "network": "dense", "width": 8, "n": 3, "d": 2, "operations": 7}
        rows = [{**row, "side": side.name, "method": "auto"} for side in (ours, peer) if side]
        found = _ntk_measure.Comparison(case, "a", "b", 0.5, 0.25, 2.0, float("nan"))
        return rows, found if peer else None

    monkeypatch.setattr(ntk_cost, "measure", measure)
    ours, peer = _ntk_sides.Ours(), Sideways()
    cells, path = [("fc-tiny", CASES["fc-tiny"])], tmp_path / "t.csv"

    def measured(peer):
        return ntk_cost.measured(cells, ours, peer, _ntk_measure.Limits(), path, len)

    alone, none = measured(None)
    assert ([row["side"] for row in alone], none) == (["ours"], [])
    both, ratios = measured(peer)
    assert calls == [None, peer]
    kept, kept_ratios = measured(peer)
    assert calls == [None, peer]
    assert kept == both == measured(None)[0]
    assert [row["side"] for row in kept] == ["ours", "peer"]
    assert repr(kept_ratios) == repr([{k: ratios[0][k] for k in ntk_cost.RATIO_COLUMNS}])
    assert ratios[0]["seconds"] == 0.5


def test_exponents_are_the_papers_where_one_term_leads(outcome):
    _, out = outcome
    rows = read(out / "ntk_cost_exponents.csv")
    assert {(row["variable"], row["method"]) for row in rows} == {
        (variable, method) for variable in "WNO" for method in METHODS
    }
    for row in rows:
        assert abs(float(row["fitted"]) - int(row["paper"])) < 0.25


@pytest.mark.parametrize("power", [1, 2, 3])
def test_exponent_of_a_known_polynomial(power):
    sizes = np.array([64, 128, 256, 512])
    assert _ntk_exponents.fitted_exponent(sizes, 7 * sizes**power) == pytest.approx(power)
    # A term one order lower bends the slope by no more than its share at the smallest size.
    bent = _ntk_exponents.fitted_exponent(sizes, sizes**power + sizes ** (power - 1))
    assert power - 1 / 64 < bent < power


def test_leading_terms_change_with_the_sizes():
    def lead(**sizes):
        return _ntk_exponents.leading_term("structured_derivatives", Setting("dense", **sizes))

    assert lead(width=10**4, n=2, d=2) == "N O L W^2"
    assert lead(width=100, n=1000, d=10) == "N^2 O^2 L W"
    assert lead(width=10, n=10, d=1000) == "N^2 O^3"
    assert _ntk_exponents.powers("N^2 O^3 W") == {"N": 2, "O": 3, "W": 1}


@pytest.mark.parametrize("name", ["fc-tiny", "conv-tiny"])
def test_costs_from_shapes_are_those_from_numbers(name):
    with jax.enable_x64(False):
        f, params, x = CASES[name].build()
        assert _ntk_sides.abstract_costs(CASES[name]) == _ntk_sides.costs(f, params, x)


@pytest.mark.parametrize("name", TINY)
def test_networks_are_float32_and_reproducible(name):
    (f, params, x), (_, again, _) = CASES[name].build(), CASES[name].build()
    jax.tree.map(np.testing.assert_array_equal, params, again)
    assert {leaf.dtype for leaf in jax.tree.leaves((params, x))} == {np.dtype(np.float32)}
    assert f(params, x).shape == (CASES[name].n, CASES[name].d)
    shapes = [leaf.shape for leaf in jax.tree.leaves(CASES[name].shapes()[1:])]
    assert shapes == [leaf.shape for leaf in jax.tree.leaves((params, x))]


def test_sizes_of_the_networks():
    resnet, transformer = (CASES[n].build()[1] for n in ("resnet18-64-n4-d10", "vit-64-n8-d10"))
    assert sum(leaf.ndim == 4 for leaf in jax.tree.leaves(resnet)) == 17 + 3
    assert transformer["positions"].shape == (64, 64)
    assert len(transformer["blocks"]) == 2


class Sideways:
    """A side that computes twice the kernel, and fails at one method."""

    name = "peer"

    def open(self, setting):
        self.f, self.params, self.x = setting.build()

    def prepare(self, method):
        if method == "ntk_vector_products":
            raise _ntk_sides.SideError("no rule for this")
        big = method == "jacobian_contraction"
        return _ntk_sides.Figures(10, 10**12 if big else 10, 0.1)

    def time(self, method):
        return 1.0

    def kernel(self, method):
        return 2 * np.asarray(empirical_ntk(self.f, self.params, self.x))


def test_a_peer_that_is_wrong_too_large_or_fails_is_said_to_be():
    with jax.enable_x64(False):
        rows, comparison = _ntk_measure.measure(
            "fc-tiny", CASES["fc-tiny"], _ntk_sides.Ours(), Sideways(),
            _ntk_measure.Limits(rounds=2, seconds=10.0),
        )  # fmt: skip
    peer = {row["method"]: row for row in rows if row["side"] == "peer"}
    assert peer["structured_derivatives"]["note"] == "KERNEL DIFFERS"
    assert "1e+12 temporary bytes" in peer["jacobian_contraction"]["note"]
    assert peer["jacobian_contraction"]["seconds"] == ""
    assert peer["ntk_vector_products"]["note"] == "no rule for this"
    assert comparison.peer == "structured_derivatives"
    assert comparison.difference == pytest.approx(1, rel=1e-4)
    assert comparison.seconds < 1


def test_a_peer_that_does_not_start_says_why():
    peer = _ntk_sides.Peer(sys.executable)
    with pytest.raises(_ntk_sides.SideError, match="neural_tangents"):
        peer.versions()
    peer.close()


def test_impossible_options_are_refused():
    for arguments in (["--rounds", "0"], ["--cases", "unknown"]):
        with pytest.raises(SystemExit):
            ntk_cost.parse(arguments)


def test_sweeps_hold_each_setting_once():
    middle, sizes = ntk_cost.SWEEPS["dense"]
    settings = list(ntk_cost.sweep_settings(middle, sizes))
    assert len(settings) == len(set(settings))
    for variable in ("width", "n", "d"):
        assert {getattr(s, variable) for s in settings} >= set(sizes[variable])
    assert _ntk_networks.FAMILIES.keys() == ntk_cost.SWEEPS.keys()

"""Scores by hand, time to convergence, the fits in closed form; all peers at their smallest."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats as st

from experiments import _peers, peers
from experiments._data import load

RNG = np.random.default_rng(0)
TASK = _peers.Task(load("diabetes", 12, seed=0), 8, noise=0.3, warmup=20, draws=40, seed=0)


def test_scores_are_those_of_the_mixture_of_draws():
    f, y, noise = RNG.normal(size=(3, 5, 2)), RNG.normal(size=(5, 2)), 0.7
    density = np.mean([st.norm(draw, noise).pdf(y) for draw in f], axis=0)
    found = peers.scores(f, y, noise, seed=0)
    assert found["nll"] == pytest.approx(-np.mean(np.log(density)), rel=1e-12)
    assert found["rmse"] == pytest.approx(np.sqrt(np.mean((f.mean(0) - y) ** 2)), rel=1e-12)


def test_intervals_cover_what_they_say():
    """Targets of the mixture itself: 90% are inside, to four standard errors."""
    spread, noise = 0.8, 0.6
    y = RNG.normal(size=(2000, 1)) * math.hypot(spread, noise)
    f = spread * RNG.normal(size=(1000, 2000, 1))
    covered = peers.scores(f, y, noise, seed=1)["coverage"]
    assert abs(covered - 0.9) < 4 * math.sqrt(0.9 * 0.1 / 2000) + 0.005


def found_of(f_mean):
    return _peers.Found(np.zeros((1, 1, 1)), f_mean, 0, 0, warmup_seconds=3.0, seconds=10.0)


def test_time_to_convergence_is_that_from_which_on_chains_agree():
    draws = RNG.normal(size=(4, 4000, 1))
    reached = peers.time_to_r_hat(found_of(draws))
    assert 3 < reached < 3 + 10 * 0.3
    apart = draws + np.arange(4)[:, None, None]
    assert peers.time_to_r_hat(found_of(apart)) == math.inf
    # They agree at first, and no longer in the end.
    late = np.where(np.arange(4000)[None, :, None] < 2000, draws, apart)
    assert peers.time_to_r_hat(found_of(late)) == math.inf


def test_the_nngp_is_gaussian_process_regression():
    """With the kernel of GELU by Gauss-Hermite quadrature in NumPy; weights have variance 2."""
    data = TASK.data
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()

    def gelu(z):
        return z * st.norm.cdf(z)

    def kernel(a, b):
        k_aa, k_bb = (0.01 + 2 * np.sum(c * c, 1) / c.shape[1] for c in (a, b))
        k_ab = 0.01 + 2 * a @ b.T / a.shape[1]
        first = np.sqrt(k_aa)[:, None, None, None] * nodes[:, None]
        slope = (k_ab / np.sqrt(k_aa)[:, None])[..., None, None] * nodes[:, None]
        rest = np.sqrt(np.maximum(k_bb[None] - k_ab**2 / k_aa[:, None], 0))[..., None, None]
        values = gelu(first) * gelu(slope + rest * nodes[None])
        return 0.01 + np.einsum("abij,i,j->ab", values, weights, weights)

    x, x_eval = (a.astype(float) for a in (data.x, data.x_eval))
    expected = kernel(x_eval, x) @ np.linalg.solve(
        kernel(x, x) + TASK.noise**2 * np.eye(len(x)), data.y
    )
    f = _peers.nngp(TASK).f
    error = f.std(0) / math.sqrt(len(f))
    assert np.abs((f.mean(0) - expected) / error).max() < 4.5


def test_last_layer_laplace_is_the_readouts_posterior_given_features():
    data, model = TASK.data, TASK.model
    networks = jax.vmap(lambda key: model.init(key, jnp.asarray(data.x), 8))(
        jax.random.split(jax.random.key(3), 2)
    )
    first = jax.tree.map(lambda a: a[0], networks["hidden"])
    psi, psi_eval = (
        np.asarray(model.features(first, jnp.asarray(a))) for a in (data.x, data.x_eval)
    )
    precision = psi.T @ psi / TASK.noise**2 + np.eye(psi.shape[1])
    mean = psi_eval @ np.linalg.solve(precision, psi.T @ data.y / TASK.noise**2)
    variance = np.einsum("ij,ji->i", psi_eval, np.linalg.solve(precision, psi_eval.T))
    trained = _peers.Found(np.zeros((2, 1, 1)), None, 500, 0, 0.0, 5.0)
    found = _peers.last_layer_laplace(TASK, trained, networks)
    assert found.gradients == 100
    n = len(found.f)
    error = np.sqrt(variance / n)[:, None]
    assert np.abs((found.f.mean(0) - mean) / error).max() < 4.5
    ratio = found.f[:, :, 0].var(0) / variance
    assert np.abs(ratio - 1).max() < 4.5 * math.sqrt(2 / n)


def row(method, per_gradient, per_second, **others):
    found = dict.fromkeys(peers.COLUMNS, 0.0)
    return {
        **found, "data": "diabetes", "width": 4, "method": method, "gradients": 7,
        "ess_per_gradient": per_gradient, "ess_per_second": per_second, **others,
    }  # fmt: skip


def test_the_table_says_where_another_is_better(tmp_path):
    rows = [
        row("ours", 0.4, 10.0, time_to_r_hat=2.0),
        row("BlackJAX HMC", 0.1, 20.0, time_to_r_hat=math.inf),
        row("NNGP", math.nan, math.nan),
    ]
    lines = peers.verdict(rows).split("\n")
    assert "ours is best" in lines[0]
    assert lines[0].endswith("4.00")
    assert "BlackJAX HMC is better" in lines[1]
    assert lines[1].endswith("0.50")
    shown = peers.table(rows)
    assert "| not |" in shown
    assert "nan" not in shown
    peers.plot(rows, tmp_path / "peers.png")
    assert (tmp_path / "peers.png").stat().st_size > 10_000


def test_a_cell_is_measured_in_one_run(tmp_path, monkeypatch):
    """One that was stopped, or lacks what is now asked for, is measured whole again."""
    rate, stop = [1.0], [None]

    def measured(task, options):
        for method in peers.SAMPLERS if options.chains_only else peers.METHODS:
            if method == stop[0]:
                raise KeyboardInterrupt
            row = {**dict.fromkeys(peers.COLUMNS, rate[0]), "data": task.data.name}
            yield row | {"width": task.width, "method": method, "gradients": 9}

    monkeypatch.setattr(peers, "measure_own", measured)
    monkeypatch.setattr(peers, "plot", lambda *_: None)
    arguments = ["--data", "diabetes", "--widths", "16", "--out", str(tmp_path)]
    peers.main([*arguments, "--chains-only"])
    rate[0], stop[0] = 2.0, peers.NUMPYRO
    with pytest.raises(KeyboardInterrupt):
        peers.main(arguments)
    rate[0], stop[0] = 3.0, None
    rows = peers.main([*arguments, "--chains-only"])
    assert [(r["method"], r["nll"]) for r in rows] == [(m, 3.0) for m in peers.SAMPLERS]
    rate[0] = 4.0
    for chains_only in ([], ["--chains-only"]):
        rows = peers.main(arguments + chains_only)
        assert [(r["method"], r["nll"]) for r in rows] == [(m, 4.0) for m in peers.METHODS]
        rate[0] = 5.0


def test_chains_only_has_chains_alone(monkeypatch, capsys):
    monkeypatch.setattr(peers._foreign, "name", lambda python: f"{python} 1.0")
    arguments = ["--chains-only", "--peer-python", peers.ONE_OUTPUT]
    assert list(peers.parse(arguments).peer_python) == [peers.ONE_OUTPUT]
    with pytest.raises(SystemExit):
        peers.parse([*arguments, "--peer-python", "neural-tangents"])
    assert "--chains-only leaves out neural-tangents 1.0" in capsys.readouterr().err


@pytest.mark.slow
def test_every_peer_end_to_end(tmp_path, tmp_path_factory, capsys):
    arguments = [
        "--data", "diabetes", "--widths", "16", "--n-train", "16", "--warmup", "50", "--draws",
        "60", "--max-steps", "100", "--out", str(tmp_path),
    ]  # fmt: skip
    with jax.enable_x64(False):
        apart = str(tmp_path_factory.mktemp("chains"))
        chains = peers.main([*arguments, "--chains-only", "--out", apart])
        assert [r["method"] for r in chains] == list(peers.SAMPLERS)
        rows = peers.main(arguments)
        assert [r["method"] for r in rows] == list(peers.METHODS)
        budget = rows[0]["gradients"]
        for found in rows[1 : len(peers.CHAINS) + 1]:
            assert found["gradients"] >= budget
        assert all(math.isfinite(r["nll"]) and r["rmse"] > 0 for r in rows)
        # Nothing is measured again.
        again = peers.main(arguments)
    assert [r["nll"] for r in again] == [r["nll"] for r in rows]
    assert {p.name for p in tmp_path.iterdir()} == {"peers.csv", "peers.png", "peers.json"}
    assert "ours over the best other" in capsys.readouterr().out

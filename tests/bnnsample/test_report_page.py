"""The report as one HTML page: well formed, self-contained, and true to the result."""

import base64
import dataclasses
import html.parser
import io

import jax
import jax.numpy as jnp
import matplotlib.image
import numpy as np
import numpyro.distributions as dist
import pytest
from test_results_record import fixed_features, make_record

import bnnsample
from bnnsample.likelihoods import Gaussian, Poisson
from bnnsample.models import mlp
from bnnsample.results import Result
from bnnsample.results._page import _affordable, _theory
from bnnsample.results._page._calibration import calibration
from bnnsample.results._page._html import png, table
from bnnsample.results._page._predictions import predictions
from bnnsample.results._plots._style import grid

VOID = {"meta", "img", "link", "br", "hr", "input"}
HOSTILE = '<script>alert("1")</script> & $\\frac{$'


class Page(html.parser.HTMLParser):
    """Tags that are open, what is loaded, and the text outside of style."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.loads, self.images, self.parts = [], [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append(tag)
        self.loads += [attributes[name] for name in ("src", "href", "srcset") if name in attributes]
        if tag == "img":
            self.images.append(attributes)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.parts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.parts).split())


def parsed(record):
    """The page of a record, after the checks that hold for every page."""
    text = Result(record).report(format="html")
    page = Page(text)
    assert text.startswith("<!DOCTYPE html>")
    assert page.open == []
    assert not {"script", "iframe", "object", "embed", "link"} & set(page.tags)
    assert all(load.startswith("data:image/png;base64,") for load in page.loads)
    assert "url(" not in text
    assert "@import" not in text
    assert len(text) < 2e6
    for image in page.images:
        pixels = matplotlib.image.imread(io.BytesIO(decoded(image)), format="png")
        height, width = pixels.shape[:2]
        assert (abs(width - int(image["width"])), abs(height - int(image["height"]))) <= (1, 1)
        assert min(width, height) > 200
        assert pixels.std() > 0.01, "an empty figure"
        assert image["alt"]
    return page


def decoded(image):
    return base64.b64decode(image["src"].removeprefix("data:image/png;base64,"), validate=True)


def alone(**changes):
    """A record whose network is not known, which makes a quick page."""
    return make_record(posterior=None, **changes)


def of_classes(names, m=12):
    """A record of a Categorical run evaluated at its training points."""
    record = alone(n=m, m=m, d=len(names))
    rng = np.random.default_rng(1)
    draws = {name: values for name, values in record.draws.items() if name != "f_mean"}
    p = rng.dirichlet(np.ones(len(names)), draws["f"].shape[:3])
    codes = rng.integers(0, len(names), (m, 1)).astype(float)
    settings = {**record.settings, "likelihood": "Categorical", "classes": names}
    return dataclasses.replace(
        record,
        y=codes,
        x_eval=record.x,
        draws={**draws, "y_mean": p, "y": draws["y"][..., :1]},
        settings={**settings, "output_names": names},
    )


def test_the_page_says_what_the_text_says():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    before = pyplot.get_fignums()
    record = alone()
    page = parsed(record)
    assert pyplot.get_fignums() == before, "global state was touched"
    result = Result(record)
    verdict = result.report().partition("Verdict: ")[2]
    # Lines of the text are broken at spaces and hyphens.
    flat = "".join(page.text.split())
    for sentence in verdict.split("\n  - "):
        assert "".join(sentence.split()) in flat
    assert page.text.index("Verdict") < page.text.index("Function space")
    for row in ("posterior-mean function", "hidden weights", "random projections"):
        group = {"posterior-mean function": "posterior_mean_function"}.get(row)
        group = group or {"hidden weights": "hidden_weights"}.get(row, "projections")
        assert f"{row} {result.diagnostics().ess_bulk_median[group]:,.0f} " in page.text
    for words in ("acceptance rate 0.80", "step size 0.3", "gradients, 0.5 s", "mlp, width 5"):
        assert words in page.text
    assert "12 points, inputs of size 3, targets of size 2; evaluated at 9" in page.text
    assert "jaxlib" in page.text
    assert len(page.images) == 4


def test_text_is_the_default_and_other_formats_are_refused():
    result = Result(alone())
    assert result.report() == result.report(format="text")
    with pytest.raises(ValueError, match="format must be 'text' or 'html', got 'pdf'"):
        result.report(format="pdf")
    with pytest.raises(ValueError, match="format must be"):
        result.report(format=None)


@pytest.mark.parametrize(
    "changes",
    [
        {"chains": 1, "draws": 1, "dtype": np.float32},
        {"chains": 1, "draws": 3, "n": 1, "m": 1, "vector": True},
        {"d": 2, "draws": 12, "standardize": True, "dtype": np.float32},
        {"keep_every": 0, "interrupted": True, "likelihood": Gaussian(0.5), "moments": None},
    ],
    ids=["one draw", "one point", "two outputs", "interrupted"],
)
def test_pages_of_all_kinds_of_runs(changes):
    page = parsed(alone(**changes))
    assert ("interrupted after 40 of 40" in page.text) == bool(changes.get("interrupted"))
    assert "Left out: the network is not known" in page.text


def test_draws_that_are_not_finite():
    record = alone(d=1)
    f = record.draws["f"].copy()
    f[0, 3:9, 2] = np.nan
    f[1, 2, 8] = np.inf
    f[1, 2, 0] = -np.inf
    page = parsed(dataclasses.replace(record, draws={**record.draws, "f": f, "f_mean": f}))
    assert "Some draws of the function are not finite" in page.text


def test_importance_and_memory_are_shown():
    adapted = {"k_hat": 0.34, "num_proposals": 500, "importance_ess": 71.0}
    record = alone(adapted=adapted)
    plan = {"draws": {"f": 2048}, "kept": 3 * 2**20, "host": {"prior": 10}, "device": {"data": 1}}
    scale = [0.25] * 10_000
    settings = {**record.settings, "kernel": "importance", "memory": plan, "scale": scale}
    page = parsed(dataclasses.replace(record, settings=settings))
    assert "k-hat 0.34" in page.text
    assert "importance ESS 71 of 1,000 prior draws" in page.text
    assert "ESS per evaluation" in page.text
    assert "parameters kept 3.0 MiB" in page.text
    assert "draws of f 2.0 KiB" in page.text
    assert len(page.text) < 10_000, "a long setting was not cut"


def test_hostile_names_are_text():
    record = of_classes([HOSTILE, "b", "c"])
    settings = {**record.settings, "model": {"name": HOSTILE, HOSTILE: HOSTILE}, HOSTILE: HOSTILE}
    draws = {**record.draws, HOSTILE: np.exp(record.draws["noise_scale"])}
    page = parsed(dataclasses.replace(record, settings=settings, draws=draws))
    assert page.text.count(HOSTILE) >= 4, "parsed() has seen that there is no such element"
    assert f"{HOSTILE}, width 5" in page.text


def test_cells_and_attributes_are_escaped():
    assert "<b>" not in table(["<b>"], [["<b>", '"<b>"']])
    assert "&quot;&lt;b&gt;&quot;" in table(["a"], [["b", '"<b>"']])


def test_dollar_signs_and_rare_letters_do_not_break_figures():
    figure, axes = grid(1, 1, (3, 2))
    axes[0, 0].set(title="a $\\frac{ b $", xlabel="\U0001f600 \u4f60")
    assert png(figure).startswith(b"\x89PNG")


def test_predictions_are_against_what_there_is():
    record = make_record(d=2)
    figure, text = predictions(record)
    assert "from the kept draws" in text
    assert figure.axes[0].get_xlabel() == "observed y"
    shown = np.asarray(figure.axes[1].containers[0].lines[0].get_xydata())
    np.testing.assert_allclose(shown[:, 0], record.y[:, 1])
    np.testing.assert_allclose(shown[:, 1], Result(record).predict(record.x).mean[:, 1], rtol=1e-6)
    alone, text = predictions(dataclasses.replace(record, posterior=None))
    assert "order" in alone.axes[0].get_xlabel()
    one = make_record(d=1, x=record.x[:, :1], x_eval=record.x_eval[:, :1], y=record.y[:, :1])
    assert predictions(one)[0].axes[0].get_xlabel() == "x"


def test_classes_are_calibrated():
    record = of_classes(["a", "b", "c"])
    figure, text = predictions(record)
    assert "has seen these points" in text
    mean = record.draws["y_mean"].mean((0, 1))
    points = next(line for line in figure.axes[0].lines if line.get_label() == "observed")
    assert np.all((points.get_ydata() >= 0) & (points.get_ydata() <= 1))
    assert points.get_xdata().min() >= mean.max(1).min() - 1e-12
    unknown = dataclasses.replace(record, x_eval=record.x + 1)
    assert "evaluation points" in predictions(unknown)[1]


def test_reliability_by_hand():
    probability = np.repeat([0.15, 0.82], [4, 5])
    codes = np.array([0, 0, 0, 1, 1, 1, 1, 1, 0])
    figure = calibration(np.stack([1 - probability, probability], 1), codes)
    points = next(line for line in figure.axes[0].lines if line.get_label() == "observed")
    np.testing.assert_allclose(points.get_xdata(), [0.15, 0.82])
    np.testing.assert_allclose(points.get_ydata(), [0.25, 0.8])
    counts = sum(patch.get_height() for patch in figure.axes[1].patches)
    assert counts == 9


def of(**changes):
    return make_record(m=3, n=4, d=1, **changes)


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (lambda: of(posterior=None), "the network is not known"),
        (lambda: of(keep_every=0), "whole parameter draws"),
        (lambda: of(draws=20), "needs 4 whole parameter draws"),
        (lambda: of(model=mlp(1, bias_std=dist.HalfNormal(1.0))), "known prior scales"),
        (
            lambda: of(model=bnnsample.models.from_functions(init, tanh)),
            "infinite width of the model",
        ),
    ],
)
def test_why_there_is_no_theory(record, words):
    assert words in _theory.why_not(record())


def init(key, x, width):
    return {"w": jax.random.normal(key, (x.shape[1], width), x.dtype)}


def tanh(h, x):
    return jnp.tanh(x @ h["w"])


def test_theory_is_of_gaussian_likelihoods_and_small_data(monkeypatch):
    record = of(likelihood=Gaussian(0.5))
    assert _theory.why_not(record) is None
    counts = dataclasses.replace(record.posterior, likelihood=Poisson())
    settings = {**record.settings, "likelihood": "Poisson"}
    other = dataclasses.replace(record, posterior=counts, settings=settings)
    assert "this run has Poisson" in _theory.why_not(other)
    monkeypatch.setattr(_affordable, "MOST_OPERATIONS", 10.0)
    assert "more than seconds" in _theory.why_not(record)


def test_theory_is_on_the_page_where_it_applies():
    page = parsed(make_record(n=4, m=3, likelihood=Gaussian(0.5), model=fixed_features(2)))
    assert "Beside the infinite width" in page.text
    assert "Left out" not in page.text
    assert "KL of the function" in page.text
    assert len(page.images) == 5


def test_thinning_is_even_and_bounded():
    record = make_record(draws=40, keep_every=1, chains=2)
    fewer = _affordable.thinned(record, 5)
    np.testing.assert_array_equal(fewer.kept.draws, record.kept.draws[[0, 10, 20, 29, 39]])
    np.testing.assert_array_equal(
        fewer.kept.parameters["readout"],
        record.kept.parameters["readout"][:, [0, 10, 20, 29, 39]],
    )
    assert _affordable.affordable_draws(record, 10) == 40
    many = dataclasses.replace(record, x=np.zeros((20_000, 3)))
    assert _affordable.affordable_draws(many, 10) == 0


def test_a_stored_result_has_the_same_page(tmp_path):
    result = Result(make_record(keep_every=0, draws=8))
    result.save(tmp_path / "run.zarr")
    assert bnnsample.load(tmp_path / "run.zarr").report("html") == result.report("html")


@pytest.mark.slow
def test_a_run_of_labels_and_its_stored_result(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 2))
    result = bnnsample.run(
        mlp(1),
        (x, np.where(x[:, 0] > 0, "<b>", "&amp;")),
        width=8,
        likelihood=bnnsample.likelihoods.Bernoulli(),
        x_eval=x[:5],
        num_chains=2,
        num_warmup=5,
        num_samples=12,
        progress=False,
    )
    page = parsed(result.record)
    assert "Predicted probabilities against what was observed" in page.text
    assert "this run has Bernoulli" in page.text
    assert '["&amp;", "<b>"]' in page.text
    assert "device: gradient" in page.text
    result.save(tmp_path / "run.zarr")
    loaded = bnnsample.load(tmp_path / "run.zarr")
    assert loaded.report("html") == result.report("html")

"""Data sets: splits, targets, and CIFAR-10's Python batches."""

import io
import os
import pickle
import re

import numpy as np
import pytest

from experiments import width_scaling
from experiments._cifar import TEST, TRAINING, load_cifar10
from experiments._data import load

RNG = np.random.default_rng(0)


@pytest.fixture
def batches(tmp_path):
    """Five batches of six images and a test batch, as the data set has them."""
    for name in (*TRAINING, TEST):
        content = {
            b"batch_label": b"a batch",
            b"labels": RNG.integers(0, 10, 6).tolist(),
            b"data": RNG.integers(0, 256, (6, 3072), np.uint8),
            b"filenames": [b"a.png"] * 6,
        }
        (tmp_path / name).write_bytes(pickle.dumps(content, protocol=2))
    return tmp_path


def content_of(path):
    return pickle.loads(path.read_bytes(), encoding="bytes")


def test_cifar_images_have_their_colours_last(batches):
    images, labels, test_images, test_labels = load_cifar10(batches)
    assert images.shape == (30, 32, 32, 3)
    assert test_images.shape == (6, 32, 32, 3)
    second = content_of(batches / "data_batch_2")
    np.testing.assert_array_equal(labels[6:12], second[b"labels"])
    # Red comes first, row by row.
    np.testing.assert_array_equal(images[7, :, :, 0].ravel(), second[b"data"][1, :1024])
    np.testing.assert_array_equal(images[7, :, :, 2].ravel(), second[b"data"][1, 2048:])
    np.testing.assert_array_equal(test_labels, content_of(batches / TEST)[b"labels"])


def test_cifar_as_shifted_one_hot_regression(batches):
    data = load("cifar10", 20, seed=3, n_eval=4, data_dir=batches)
    images, labels, *_ = load_cifar10(batches)
    order = np.random.default_rng(3).permutation(30)[:20]
    expected = (images[order] - images.mean()) / images.std()
    np.testing.assert_allclose(data.x, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(data.y.sum(1), 0, atol=1e-6)
    np.testing.assert_array_equal(data.y.argmax(1), labels[order])
    assert data.x_eval.shape == (4, 32, 32, 3)
    assert data.y_eval.shape == (4, 10)
    assert data.x.dtype == data.y.dtype == np.float32


def test_files_that_are_missing_are_named(batches, capsys):
    (batches / "data_batch_4").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"no data_batch_4.*cifar-10-batches-py.*test_batch"
    ):
        load_cifar10(batches)
    with pytest.raises(ValueError, match="needs data_dir"):
        load("cifar10", 5, seed=0)
    for given, said in (([], "needs --data-dir"), (["--data-dir", str(batches)], "data_batch_4")):
        with pytest.raises(SystemExit):
            width_scaling.parse(["--data", "cifar10", *given])
        assert re.search(rf"{said}.*cifar-10-batches-py.*test_batch", capsys.readouterr().err)


class Hostile:
    def __reduce__(self):
        return os.mkdir, ("made-by-a-pickle",)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (Hostile(), "not arrays alone"),
        ({b"data": np.zeros((2, 3072), np.uint8)}, "labels"),
        ({b"data": np.zeros((2, 3071), np.uint8), b"labels": [0, 1]}, "reshape"),
        ({b"data": np.zeros((2, 3072)), b"labels": [0, 1]}, "dtype float64"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, 10]}, "0 to 9"),
        ([1, 2], "not a batch"),
    ],
)
def test_files_that_are_not_batches_are_refused(batches, content, words, monkeypatch):
    monkeypatch.chdir(batches)
    (batches / "data_batch_1").write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=words):
        load_cifar10(batches)
    assert not (batches / "made-by-a-pickle").exists()


def test_a_truncated_file_is_refused(batches):
    path = batches / TEST
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="test_batch is not a batch"):
        load_cifar10(batches)


def test_batches_of_an_old_numpy_are_read(batches):
    """They name NumPy's modules as they were called then."""
    path = batches / TEST
    stream = path.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert b"numpy.core" in stream
    assert pickle.Unpickler(io.BytesIO(stream), encoding="bytes")
    path.write_bytes(stream)
    assert load_cifar10(batches)[2].shape == (6, 32, 32, 3)


@pytest.mark.parametrize(
    ("name", "outputs"), [("diabetes", 1), ("digits", 10), ("breast_cancer", 2)]
)
def test_bundled_data(name, outputs):
    data = load(name, 40, seed=0)
    assert data.y.shape == (40, outputs)
    assert data.y_eval.shape == (32, outputs)
    if outputs > 1:
        np.testing.assert_allclose(data.y.sum(1), 0, atol=1e-6)
    assert not (data.x[:, None] == data.x_eval[None]).all(2).any()
    with pytest.raises(ValueError, match="n_train must lie"):
        load(name, 0, seed=0)

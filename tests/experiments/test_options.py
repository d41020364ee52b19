"""Command lines that cannot be meant are refused by name, before anything is computed."""

import pytest

from experiments import function_space, infinite_cost, kl_to_prior, resnet_cost


@pytest.mark.parametrize(
    ("parse", "line", "message"),
    [
        (function_space.parse, "--noise-scale 0", "--noise-scale: must be a positive number"),
        (function_space.parse, "--noise-scale nan", "--noise-scale: must be a positive number"),
        (function_space.parse, "--n-train 0", "--n-train: must be a whole number from 1 on"),
        (function_space.parse, "--widths 8 x", "--widths: must be a whole number from 1 on, got x"),
        (function_space.parse, "--samples 3", "--samples: must be a whole number from 4 on"),
        (function_space.parse, "--seed -1", "--seed: must be a whole number from 0 on, got -1"),
        (function_space.parse, "--widths 8 8 --check", "--check fits C at the widths below"),
        (kl_to_prior.parse, "--num-particles 0", "must be a whole number from 25 on, got 0"),
        (kl_to_prior.parse, "--num-replicates 1", "must be a whole number from 2 on, got 1"),
        (kl_to_prior.parse, "--widths 0", "--widths: must be a whole number from 1 on, got 0"),
        (kl_to_prior.parse, "--quick --resnet", "--resnet takes the images of digits"),
        (resnet_cost.main, "--depth 9", "--depth must be 6 k + 2"),
        (resnet_cost.main, "--steps 0", "--steps: must be a whole number from 1 on, got 0"),
    ],
)
def test_an_option_that_cannot_be_meant(capsys, parse, line, message):
    with pytest.raises(SystemExit) as stopped:
        parse(line.split())
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("line", ["--repeats 0", "--depth 0"])
def test_infinite_cost_needs_layers_and_rounds(monkeypatch, capsys, line):
    monkeypatch.setattr("sys.argv", ["infinite_cost", "--quick", *line.split()])
    with pytest.raises(SystemExit):
        infinite_cost.main()
    assert "must be a whole number from 1 on, got 0" in capsys.readouterr().err


@pytest.mark.parametrize("parse", [function_space.parse, kl_to_prior.parse])
def test_a_folder_that_cannot_be_written_to(tmp_path, capsys, parse):
    file = tmp_path / "file"
    file.write_text("")
    for path in (file, file / "inside"):
        with pytest.raises(SystemExit):
            parse(["--out", str(path)])
        assert f"{file} is not a folder that can be written to" in capsys.readouterr().err
    parse(["--out", str(tmp_path / "new" / "inside")])
    assert not (tmp_path / "new").exists()

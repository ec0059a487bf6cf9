"""`train` and `export` after Ctrl-C: what is left, and how to go on."""

import pytest

FAST = ("--hidden", "4", "--latent-dim", "2", "--epochs", "1", "--batch-size", "16")


@pytest.fixture
def interrupted(monkeypatch):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("vae_builder.training.train.train", interrupt)
    monkeypatch.setattr("vae_builder.run.runs.train", interrupt)


def test_interrupted_export(data, tmp_path, call, interrupted):
    status, out, err = call("export", tmp_path / "a", "--data", data, "-q")
    assert (status, out, err.strip()) == (130, "", "Interrupted: nothing was written.")
    assert [path.name for path in tmp_path.iterdir()] == ["images.npy"]


def test_interrupted_training_says_how_to_go_on(data, tmp_path, call, interrupted, monkeypatch):
    status, out, err = call("train", tmp_path / "a", "--data", data, "-q", *FAST)
    resume = f"build-vae train {tmp_path / 'a'} --resume"
    assert (status, out, err.strip()) == (130, "", f"Interrupted: continue with {resume}")
    monkeypatch.undo()
    assert call("train", tmp_path / "a", "--resume", "-q")[0] == 0
    assert call("train", tmp_path / "a", "--resume", "--seed", "3")[0] == 3


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_interrupted_before_the_run_has_begun(data, tmp_path, call, monkeypatch, force):
    """There is nothing to resume, or only the old run, which stays as it was."""

    def interrupt(*args, **options):
        raise KeyboardInterrupt

    run = tmp_path / "a"
    if force:
        run.mkdir()
        (run / "run.json").write_text("old")
    monkeypatch.setattr("vae_builder.run.record.load_dataset", interrupt)
    status, out, err = call("train", run, "--data", data, *force, *FAST)
    assert (status, out, err.strip()) == (130, "", "Interrupted: nothing was written.")
    assert [path.read_text() for path in run.glob("*")] == ["old"] * len(force)

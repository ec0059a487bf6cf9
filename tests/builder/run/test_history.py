"""`history.csv`: reading gives what was written, and errors name the damaged row."""

import pytest

from vae_builder.run.history import read_history, write_history
from vae_builder.training.checkpoint import Epoch
from vae_runtime.loss import Losses

HISTORY = tuple(
    Epoch(at, Losses(0.1 * at, 2e-17, 1 / 3), Losses(1.5, 2.5, 4.0), 1e-3 / at, 0.25)
    for at in (1, 2)
)


def test_history_is_written_and_read(tmp_path):
    for history in (HISTORY, ()):
        write_history(tmp_path / "history.csv", history)
        assert read_history(tmp_path / "history.csv") == history
    header, *_ = (tmp_path / "history.csv").read_text().splitlines()
    assert header == (
        "epoch,train_reconstruction_loss,train_kl_loss,train_loss,validation_reconstruction_loss,"
        "validation_kl_loss,validation_loss,learning_rate,seconds"
    )


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("2,1.0", "history.csv, line 3: "),
        ("2" + ",1.0" * 9, "history.csv, line 3: "),
        ("2,x" + ",1.0" * 7, "history.csv, line 3: could not convert"),
        ("2,," + ",1.0" * 6, "history.csv, line 3: could not convert"),
        ("inf" + ",1.0" * 8, "history.csv, line 3: has numbers that are not finite"),
        ("2,nan" + ",1.0" * 7, "history.csv, line 3: has numbers that are not finite"),
    ],
)
def test_a_damaged_row_is_named(tmp_path, row, message):
    path = tmp_path / "history.csv"
    write_history(path, HISTORY)
    header, first, _ = path.read_text().splitlines()
    path.write_text(f"{header}\n{first}\n{row}\n")
    with pytest.raises(ValueError, match=f"^{message}"):
        read_history(path)


@pytest.mark.parametrize("content", [b"", b"epoch\n1\n", b"\xff\xfe", b"\0" * 9])
def test_a_file_that_is_no_history_is_refused(tmp_path, content):
    (tmp_path / "history.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"history\.csv has other columns|can't decode"):
        read_history(tmp_path / "history.csv")

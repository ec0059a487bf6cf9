"""Plans, names of parts, folders of results, and going on after an interruption."""

import json
import os
import shutil

import numpy as np
import pytest

from cluster_sources import content, random_images, read_parts, write_images
from messages import one_line
from vae_runtime import EngineError, InputError, OptionError, cluster
from vae_runtime.bundle.bundle import Bundle
from vae_runtime.cluster.job import Job, Reading, Running
from vae_runtime.cluster.plan import plan

pytest.importorskip("pyarrow")
pytestmark = pytest.mark.usefixtures("in_process")


@pytest.fixture
def planned(exported):
    """Return a function from a source and options to its plan."""

    def make(source, part_rows=None, *, batch_size=256, **reading):
        bundle = Bundle(exported())
        how = Reading(str(source), **reading)
        job = Job(bundle.sha256, "out", how, Running(batch_size))
        return plan(job, bundle.manifest, part_rows)

    return make


def test_parts_are_ranges_of_row_groups(planned, source):
    whole = planned(source)
    assert [(p.files[0].path, p.first, p.rows) for p in whole] == [
        ("year=2024/a.parquet", 0, 700),
        ("year=2024/b.parquet", 0, 300),
        ("year=2025/a.parquet", 0, 513),
    ]
    small = planned(source, 256)
    groups = [
        (p.first, p.rows, p.row_groups) for p in small if p.files[0].path[5:] == "2024/a.parquet"
    ]
    assert groups == [(0, 256, (0, 1)), (256, 256, (1, 2)), (512, 188, (2, 3))]
    assert len({p.name for p in (*whole, *small)}) == 11  # names are of the range, too
    assert planned(source, 600)[0].row_groups == (0, 2)
    assert planned(source, 1)[0].rows == 256  # never inside a row group


def test_names_follow_from_input_and_options(planned, source, tmp_path):
    copy = shutil.copytree(source, tmp_path / "moved")  # with its times
    names = [part.name for part in planned(source)]
    assert [part.name for part in planned(copy)] == names
    assert names[0].startswith("a-000000000000-")
    assert names[0] != names[2]  # the same stem in another folder
    for changed in ({"batch_size": 128}, {"key": "image"}, {"ids": ("id",)}):
        assert not {part.name for part in planned(source, **changed)} & {*names}
    path = copy / "year=2024" / "a.parquet"
    os.utime(path, (1, 1))
    again = [part.name for part in planned(copy)]
    assert again[0] != names[0]
    assert again[1:] == names[1:]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "holds no samples, expected Parquet files"),
        (["a.csv", "_hidden.parquet", ".hidden/b.parquet"], "holds no samples"),
        (["a.npy", "b.png"], "holds arrays and pictures, expected files of one kind"),
        (["a.parquet"], "a.parquet is not a readable Parquet file"),
    ],
)
def test_a_folder_without_a_plan(planned, tmp_path, files, message):
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"nothing")
    with pytest.raises(InputError, match=message):
        planned(tmp_path)


def test_arrays_of_another_shape(planned, tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((3, 5, 5)))
    with pytest.raises(InputError, match=r"a\.npy has shape \(3, 5, 5\), expected \(n, 8, 8, 1\)"):
        planned(tmp_path)


def test_columns_are_looked_at_before_workers_start(planned, source, tmp_path):
    with pytest.raises(InputError, match="lacks the columns nmae of --id, it has id,image,name,y"):
        planned(source, ids=("nmae",))
    with pytest.raises(InputError, match=r"has no column 'id' that holds arrays"):
        planned(source, key="id")


def test_a_job_goes_on_where_it_was_ended(exported, source, tmp_path):
    """Ended in the middle by its first progress, with parts there and parts that are not."""
    out, options = tmp_path / "out", {"part_rows": 256, "workers": 1}

    def interrupt(progress):
        if progress.rows:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cluster.score(source, exported(), out, **options, on_progress=interrupt)
    before = content(out)
    assert 0 < len(before) < 8
    with pytest.raises(OptionError, match="holds results already: go on with --resume"):
        cluster.score(source, exported(), out, **options)
    (out / ".writing").mkdir(exist_ok=True)
    (out / ".writing" / "x.parquet.00000000-1-2").touch()  # what a killed worker left
    stamps = {name: (out / name).stat().st_mtime_ns for name in before}
    report = cluster.score(source, exported(), out, **options, resume=True)
    assert (report.rows, report.resumed) == (1513, len(before))
    assert {name: (out / name).stat().st_mtime_ns for name in before} == stamps
    cluster.score(source, exported(), tmp_path / "plain", **options)
    assert content(out) == content(tmp_path / "plain")
    rows = read_parts(out).select(["file", "row"]).to_pylist()
    assert len({tuple(row.values()) for row in rows}) == len(rows) == 1513


def test_a_folder_of_another_job_is_refused(exported, source, tmp_path):
    out, mine = tmp_path / "out", tmp_path / "in"
    shutil.copytree(source, mine)
    cluster.score(mine, exported(), out, workers=1)
    for options, message in (
        ({"batch_size": 7}, r"was begun with batch_size 256, not 7: give the same options"),
        ({"ids": ["id"]}, r"was begun with ids \[\], not \['id'\]"),
    ):
        with pytest.raises(OptionError, match=message):
            cluster.score(mine, exported(), out, resume=True, **options)
    with pytest.raises(OptionError, match="was begun with bundle "):
        cluster.score(mine, exported(kl_weight=0.5), out, resume=True)
    job = json.loads((out / "job.json").read_text())
    (out / "job.json").write_text(json.dumps({**job, "versions": {"numpy": "0.1"}}))
    with pytest.raises(OptionError, match="was begun with other versions, here is "):
        cluster.score(mine, exported(), out, resume=True)
    (out / "job.json").write_text("{")
    with pytest.raises(InputError, match=r"job\.json is damaged"):
        cluster.score(mine, exported(), out, resume=True)
    (out / "job.json").write_text(json.dumps(job))
    os.utime(mine / "year=2024" / "b.parquet", (1, 1))
    with pytest.raises(InputError, match=r"has 1 parts that .* no longer has, such as b-0000"):
        cluster.score(mine, exported(), out, resume=True)


def test_new_files_are_added_to_what_is_there(exported, source, tmp_path):
    mine = shutil.copytree(source, tmp_path / "in")
    cluster.score(mine, exported(), tmp_path / "out", workers=1)
    write_images(mine / "new.parquet", random_images(10))
    report = cluster.score(mine, exported(), tmp_path / "out", workers=1, resume=True)
    assert (report.rows, report.parts, report.resumed) == (1523, 4, 3)


@pytest.mark.parametrize("strict", [False, True])
def test_a_file_that_is_gone_is_tried_again_and_set_aside(exported, tmp_path, strict):
    for name in ("a", "b", "c"):
        write_images(tmp_path / "in" / f"{name}.parquet", random_images(20))
    gone = tmp_path / "in" / "b.parquet"
    options = {"on_progress": lambda progress: gone.unlink(missing_ok=True), "strict": strict}
    arguments = (tmp_path / "in", exported(), tmp_path / "out")
    if strict:
        with pytest.raises(EngineError, match=r"b\.parquet, rows 0 to 19: .* \(3 times\)"):
            cluster.score(*arguments, **options)
        return
    report = cluster.score(*arguments, **options)
    (failed,) = report.failed
    assert failed.reason.startswith(f"{gone} cannot be read (No such file")
    assert failed.reason.endswith("(3 times)")
    assert (report.rows, report.parts) == (40, 3)


def test_a_folder_that_holds_something_else(exported, source, tmp_path):
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(InputError, match=r"holds thesis\.txt, expected an empty folder"):
        cluster.score(source, exported(), tmp_path)


def test_the_command(exported, source, tmp_path, call):
    out = tmp_path / "scores"
    words = ("score", exported(), source, "-o", out, "--workers", "1", "--id", "id", "--id", "year")
    status, printed, err = call(*words, "--alpha", "0.3")
    assert (status, printed) == (0, "")
    assert one_line(err).startswith("1,513 rows in 3 parts at ")
    table = read_parts(out)
    assert table.column_names[:4] == ["file", "row", "id", "year"]
    alarms = np.array(table.column("p_value")) <= np.float32(0.3)
    assert np.array_equal(np.array(table.column("alarm")), alarms)
    status, _, err = call(*words, "--alpha", "0.3", "--resume", "--quiet")
    assert (status, err) == (0, "")
    path = tmp_path / "in" / "a.parquet"
    write_images(path, random_images(3000), row_group_size=3000)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : -5000] = bytes(len(data) - len(data) // 2 - 5000)
    path.write_bytes(data)
    status, _, err = call("score", exported(), path, "-o", tmp_path / "2", "--engine", "local")
    assert status == 1
    assert "1 part was set aside" in err
    assert "a.parquet, rows 0 to 2999: " in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--engine", "local"), "--engine writes a folder: name it with -o"),
        (("--resume",), "--resume is for scores in a folder"),
        (("-o", "scores.csv", "--workers", "2"), "--workers is for scores in a folder"),
        (("-o", "scores", "--fdr", "0.1"), "--fdr is for scores in one place"),
        (("-o", "scores", "--ray-address", "a:1"), "--ray-address is for --engine ray"),
        (("-o", "scores", "--num-gpus", "1"), "--num-gpus is for --engine ray"),
        (("-o", "scores", "--skip-unreadable"), "errors/ names what cannot be read"),
        (("-o", "scores", "--condition", "7"), "condition"),
        (("-o", "scores.csv", "--id", "a", "--id", "b"), "--id is given more than once"),
    ],
)
def test_options_that_do_not_fit(words, message, exported, source, call, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    status, out, err = call("score", exported(), source, *words)
    assert (status, out) == (3, "")
    assert message in one_line(err)
    assert [*tmp_path.iterdir()] == []

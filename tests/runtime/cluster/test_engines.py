"""Every engine gives the bytes of one process, outlives its workers, and ends in one line."""

import json
import os

import numpy as np
import pytest

from cluster_sources import FAULTS, content, random_images, read_parts, write_images
from vae_runtime import EngineError, MissingExtraError, OptionError, cluster

pytest.importorskip("pyarrow")

PACKAGES = {"local": "pyarrow", "ray": "ray", "dask": "distributed"}
RULES = "die:deadly:99 die:mortal:1 full:.writing/brimful:99"


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Workers that start from here on die, or find a full disk, at files of certain names."""
    with pytest.MonkeyPatch.context() as patch:
        paths = [str(FAULTS), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        patch.setenv("WORKER_FAULTS", RULES)
        patch.setenv("WORKER_FAULTS_FOLDER", str(tmp_path_factory.mktemp("faults")))
        yield


@pytest.fixture(scope="module", params=PACKAGES)
def engine(request, environment):
    """Options that score with an engine: processes, or a running cluster that is joined."""
    pytest.importorskip(PACKAGES[request.param])
    if request.param == "local":
        yield {"engine": "local", "workers": 2}
    elif request.param == "ray":
        from ray.cluster_utils import Cluster

        options = {"num_cpus": 2, "include_dashboard": False}
        running = Cluster(initialize_head=True, head_node_args=options)
        yield {"engine": "ray", "address": running.address}
        running.shutdown()
    else:
        import distributed

        with distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
        ) as running:
            yield {"engine": "dask", "address": running.scheduler_address}


@pytest.fixture(scope="module")
def undisturbed(exported, source, tmp_path_factory):
    """The folder that one process writes."""
    out = tmp_path_factory.mktemp("plain") / "scores"
    cluster.score(source, exported(), out, workers=1, part_rows=256, ids=["id", "year"])
    return out


def test_one_process_scores_as_the_runtime_does(undisturbed, pixels, score_alone):
    table = read_parts(undisturbed)
    assert table.column("id").to_pylist() == [*range(1513)]  # a row for each, in order
    for name, x in pixels.items():
        # A part is a row group of 256 rows, which is also a chunk of the graph.
        expected = score_alone(x)
        rows = np.array(table.column("file")) == name
        assert np.array_equal(np.array(table.column("row"))[rows], np.arange(len(x)))
        assert set(np.array(table.column("year"))[rows]) == {name[5:9]}
        for column, values in expected.items():
            assert np.array_equal(np.array(table.column(column))[rows], values), column


def test_each_engine_writes_the_same_bytes(engine, exported, source, undisturbed, tmp_path, capfd):
    options = {"part_rows": 256, "ids": ["id", "year"]}
    report = cluster.score(source, exported(), tmp_path / "out", **engine, **options)
    assert (report.rows, report.parts, report.bad, report.failed) == (1513, 8, 0, ())
    assert content(tmp_path / "out") == content(undisturbed)
    assert capfd.readouterr() == ("", "")  # no noise of the engine
    again = cluster.score(source, exported(), tmp_path / "out", **engine, **options, resume=True)
    assert (again.rows, again.resumed, again.rate) == (1513, 8, None)


def test_a_part_that_ends_its_worker(engine, exported, tmp_path, capfd):
    """One that does so once is scored; one that does so always is set aside after three times."""
    names = [*(f"good-{i}" for i in range(4)), f"mortal-{engine['engine']}"]
    for i, name in enumerate(names):
        write_images(tmp_path / "in" / f"{name}.parquet", random_images(300, i))
    # planned here, where the file is harmless
    write_images(tmp_path / "in" / "deadly.parquet", random_images(50))
    report = cluster.score(tmp_path / "in", exported(), tmp_path / "out", **engine)
    assert report.rows == 1500
    assert not report.passed
    (failed,) = report.failed
    assert failed.input == "deadly.parquet, rows 0 to 49"
    assert failed.reason.startswith("its worker died")
    assert "times)" in failed.reason
    lines = (tmp_path / "out" / "failed.jsonl").read_text().splitlines()
    assert [*map(json.loads, lines)] == [vars(failed)]
    files = read_parts(tmp_path / "out").column("file").to_pylist()
    assert {*files} == {f"{name}.parquet" for name in names}
    assert len(files) == 1500
    assert capfd.readouterr() == ("", "")


def test_a_full_disk_on_a_worker_ends_the_job_in_one_line(engine, exported, tmp_path):
    write_images(tmp_path / "in" / "brimful.parquet", random_images(50))
    with pytest.raises(EngineError, match=r"brimful.*No space left on device \(on .*\): free some"):
        cluster.score(tmp_path / "in", exported(), tmp_path / "out", **engine)
    assert content(tmp_path / "out") == {}


def test_workers_of_another_version_are_refused(engine, exported, source, tmp_path, monkeypatch):
    from vae_runtime.cluster import run

    own = run.installed_versions()
    monkeypatch.setattr(run, "installed_versions", lambda: (("build-vae", "9.9"), *own[1:]))
    with pytest.raises(EngineError, match=r"it has build-vae .* instead of 9\.9: install the same"):
        cluster.score(source, exported(), tmp_path / "out", **engine)


@pytest.mark.parametrize("name", ["ray", "dask"])
def test_an_address_where_nothing_answers(name, exported, source, tmp_path):
    pytest.importorskip(PACKAGES[name])
    where = {"engine": name, "address": "127.0.0.1:9"}
    with pytest.raises(EngineError, match=r"does not answer at 127\.0\.0\.1:9 \(.*\): check"):
        cluster.score(source, exported(), tmp_path / "out", **where)
    where["address"] = "nowhere"
    with pytest.raises(OptionError, match="is 'nowhere', expected HOST:PORT"):
        cluster.score(source, exported(), tmp_path / "out", **where)


@pytest.mark.parametrize(
    ("module", "engine", "message"),
    [
        ("ray", "ray", r'--engine ray needs Ray, .*: pip install "build-vae\[ray\]"'),
        ("distributed", "dask", r'--engine dask needs .*: pip install "build-vae\[dask\]"'),
        ("pyarrow", "local", r'needs pyarrow, .*: pip install "build-vae\[parquet\]"'),
    ],
)
def test_a_missing_extra(module, engine, message, exported, source, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(MissingExtraError, match=message):
        cluster.score(source, exported(), tmp_path / "out", engine=engine)

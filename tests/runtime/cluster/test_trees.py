"""Folders on a disk and in an object store: a real server of S3's interface on this machine."""

import shutil

import pytest

from cluster_sources import content, random_images, write_images
from vae_runtime import InputError, cluster
from vae_runtime.cluster.trees import LocalTree, open_tree

pytest.importorskip("pyarrow")


@pytest.fixture(scope="module")
def bucket():
    """The URL of a bucket; processes that start later find it, too."""
    pytest.importorskip("s3fs")
    server_of = pytest.importorskip("moto.server")
    import fsspec

    server = server_of.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        fsspec.filesystem("s3").mkdir("bucket")
        yield "s3://bucket"
        open_tree.cache_clear()
        server.stop()


def test_a_source_and_results_in_an_object_store(bucket, exported, source, tmp_path):
    import fsspec

    store = fsspec.filesystem("s3")
    store.put(f"{source}/", f"{bucket}/in/", recursive=True)
    options = {"part_rows": 256, "ids": ["id", "year"]}
    out = f"{bucket}/out"
    report = cluster.score(f"{bucket}/in", exported(), out, workers=2, **options)
    assert (report.rows, report.parts, report.bad) == (1513, 8, 0)
    again = cluster.score(f"{bucket}/in", exported(), out, resume=True, **options)
    assert again.resumed == 8
    store.get(f"{bucket}/out/", f"{tmp_path}/found/", recursive=True)
    cluster.score(source, exported(), tmp_path / "local", workers=1, **options)
    # Names differ, because the stamps of the files do; so does nothing else.
    found, expected = (
        sorted((name.rpartition("-")[0], data) for name, data in content(folder).items())
        for folder in (tmp_path / "found", tmp_path / "local")
    )
    assert found == expected
    for place in (f"{bucket}/none", "s3://other/in"):
        with pytest.raises(InputError, match=rf"{place} does not exist or is empty"):
            cluster.score(place, exported(), tmp_path / "out")


def test_one_file_in_an_object_store(bucket, exported, tmp_path):
    import fsspec
    import numpy as np

    np.save(tmp_path / "x.npy", random_images(30))
    fsspec.filesystem("s3").put(str(tmp_path / "x.npy"), f"{bucket}/x.npy")
    report = cluster.score(f"{bucket}/x.npy", exported(), tmp_path / "out", workers=1)
    assert (report.rows, report.parts) == (30, 1)


def test_a_file_that_changes_is_noticed(tmp_path):
    path = tmp_path / "a.parquet"
    write_images(path, random_images(10))
    tree = LocalTree(tmp_path)
    (file,) = tree.files()
    tree.check(file)
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(InputError, match="it changed, or this worker has another copy"):
        tree.check(file)
    path.unlink()
    with pytest.raises(InputError, match="all workers must see the source under the same path"):
        tree.check(file)


def test_a_file_appears_complete_or_not_at_all(tmp_path):
    tree = LocalTree(tmp_path / "out")
    tree.write("parts/a", b"1")
    tree.write("parts/a", b"2")
    assert content(tmp_path / "out") == {"parts/a": b"2"}
    shutil.rmtree(tmp_path / "out" / "parts")
    (tmp_path / "out" / "parts").touch()  # in the way
    with pytest.raises(OSError, match="parts/a"):
        tree.write("parts/a", b"3")
    assert tree.names(".writing") == set()
    tree.tidy(all_writers=True)
    assert [*content(tmp_path / "out")] == ["parts"]

"""What a job tells: one line while it runs, and its end."""

from vae_runtime.cluster import JobReport, Progress, SetAside


def test_progress_is_one_line_with_rate_and_time_left():
    assert str(Progress(0, 1_000_000, 3.0)) == "0 of 1,000,000 rows"
    line = "250,000 of 1,000,000 rows, 25,000 rows/s, 0:00:30 left"
    assert str(Progress(250_000, 1_000_000, 10.0)) == line
    assert str(Progress(1, 8000, 1.0)).endswith(", 1 rows/s, 2:13:19 left")
    waits = "no part has ended for 61 s: check that the cluster has processors free"
    assert str(Progress(5, 10, 90.0, waited=61.2)) == waits


def test_a_job_without_faults():
    report = JobReport(1513, 8, 3, 0, None, (), 12345.6, "/scores")
    assert report.passed
    line = "1,513 rows in 8 parts, 3 of them from before at 12,346 rows/s: /scores/parts"
    assert str(report) == line


def test_bad_rows_and_parts_that_were_set_aside_are_named():
    failed = tuple(SetAside(f"n{i}", f"{i}.parquet", "is damaged") for i in range(12))
    report = JobReport(100, 20, 0, 2, "a.parquet, row 3 has no value", failed, None, "/scores")
    assert not report.passed
    assert str(report).splitlines() == [
        "100 rows in 8 parts: /scores/parts",
        "2 rows cannot be scored, loss inf, see /scores/errors: a.parquet, row 3 has no value",
        "12 parts were set aside, see /scores/failed.jsonl; try with --resume:",
        *(f"  {i}.parquet: is damaged" for i in range(10)),
        "  and 2 more",
    ]


def test_a_source_of_which_no_row_fits_the_model_is_a_failure():
    assert JobReport(100, 1, 0, 99, "reason", (), None, "out").passed
    assert not JobReport(100, 1, 0, 100, "reason", (), None, "out").passed

"""Two pages of meters become one."""

from mlsys.serving.engine import exposition


def page(*families: tuple[str, str]) -> str:
    return "".join(
        f"# HELP {name} About it.\n# TYPE {name} gauge\n{name} {value}\n" for name, value in families
    )


def test_each_family_once_from_the_process_that_counts_it() -> None:
    ours = page(("mlsys_requests_total", "5.0"), ("mlsys_batches_total", "0.0"), ("mlsys_ready", "1.0"))
    theirs = page(
        ("mlsys_requests_total", "0.0"), ("mlsys_batches_total", "3.0"), ("mlsys_requests_running", "2.0")
    )
    lines = exposition.merged(ours, theirs).splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        "mlsys_requests_total 5.0", "mlsys_batches_total 3.0", "mlsys_ready 1.0", "mlsys_requests_running 2.0",
    ]  # fmt: skip
    assert len(lines) == 12

"""The command line: sub-commands, options, formats, exit codes and messages."""

import csv
import gzip
import hashlib
import io
import json
import os
import re
import signal
import sqlite3
import subprocess
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from support.cli import (
    CATEGORY_COLUMNS,
    CONFIG,
    DATA,
    DISK,
    INTERRUPTED,
    OK,
    ORDER_COLUMNS,
    SOURCE,
    SYSTEM,
    USAGE,
    backfill,
    interrupted,
    kpid,
    read_tables,
    run_date,
    source_url,
)
from support.datasets import (
    BASE,
    BASE_DATES,
    copy_base,
    slow_source,
    write_lines,
    write_source,
)
from support.paths import MACHINE, README, SIMD, clean_env, kpid_binary, project_version

DAY = BASE_DATES[0]
NUMBERS = {"order_kpis": ORDER_COLUMNS[1:], "category_kpis": CATEGORY_COLUMNS[2:]}


def run_base(*options, date=DAY, **kwargs):
    return kpid(
        "run",
        "--date",
        date,
        "--no-publish",
        "--source",
        source_url(BASE),
        *options,
        **kwargs,
    )


# --- usage -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["nonsense"],
        ["run"],
        ["run", "--date"],
        ["run", "--date", "2023-02-30", "--no-publish"],
        ["run", "--date", "15.01.2023"],
        ["run", "--date", DAY, "--nonsense"],
        ["run", "--date", DAY, "--format", "xml"],
        ["run", "--date", DAY, "--threads", "0"],
        ["run", "--date", DAY, "--threads", "many"],
        ["run", "--date", DAY, "--threads", "-1"],
        ["run", "--date", DAY, "--bad-rows", "maybe"],
        ["run", "--date", DAY, "--max-bad-rows", "-1"],
        ["run", "--date", DAY, "--max-bad-rows", "101%"],
        ["run", "--date", DAY, "--max-bad-rows", "x"],
        ["run", "--date", DAY, "--quality-gate", "never"],
        ["run", "--date", DAY, "extra"],
        ["backfill"],
        ["backfill", "--from", DAY],
        ["backfill", "--to", DAY],
        ["backfill", "--from", "2023-01-16", "--to", "2023-01-15"],
        ["backfill", "--all", "--from", DAY, "--to", DAY],
        ["sample"],
        ["sample", "--out"],
        ["sample", "--out", "x", "--orders", "-5", "--days", "1"],
        ["serve", "--nonsense"],
        ["migrate", "--nonsense"],
        ["version", "extra"],
    ],
    ids=lambda args: " ".join(args) or "nothing",
)
def test_wrong_usage_is_refused_and_explained(args, tmp_path):
    result = kpid(*args, env={"KPI_SOURCE": source_url(BASE)}, cwd=tmp_path)
    assert result.code == USAGE, result
    assert result.err.strip()
    assert result.out == ""
    assert list(tmp_path.iterdir()) == []


def test_unknown_option_is_named():
    assert "--frobnicate" in kpid("run", "--date", DAY, "--frobnicate").err


@pytest.mark.parametrize(
    "args", [["--help"], ["run", "--help"], ["backfill", "--help"]]
)
def test_help_goes_to_stdout(args):
    result = kpid(*args)
    assert result.code == OK, result
    assert "kpid" in result.out


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_days_by_name_are_those_of_the_zone(tmp_path, zone):
    today = datetime.now(ZoneInfo(zone)).date()
    yesterday = today - timedelta(days=1)
    rows = [f"{n},{n},c,{day}" for n, day in enumerate((yesterday, today))]
    source = write_source(tmp_path / "in", rows, [], ["1,A,x"])
    env = {"KPI_SOURCE": source_url(source), "KPI_TIMEZONE": zone}
    for args, days in (
        (("run", "--date", "yesterday"), [yesterday]),
        (("run", "--date", "today"), [today]),
        (("backfill", "--from", "yesterday", "--to", "today"), [yesterday, today]),
    ):
        result = kpid(*args, "--no-publish", "--out", tmp_path / args[-1], env=env)
        assert result.code == OK, result
        found = [row["order_date"] for row in read_tables(tmp_path / args[-1])["order_kpis"]]
        assert found == [str(day) for day in days] or datetime.now(ZoneInfo(zone)).date() != today, "it was midnight"


def test_version_names_the_commit_the_libraries_and_the_processor():
    result = kpid("version", env={"KPID_SIMD": ""})
    assert result.code == OK
    program, libraries, processor = result.out.splitlines()
    assert re.fullmatch(rf"kpid {re.escape(project_version())} \(commit ([0-9a-f]{{12}}\+?|unknown)\)", program)
    named = dict(library.split("/") for library in libraries.split(" "))
    assert set(named) == {"libmicrohttpd", "libcurl", "OpenSSL", "jansson", "SQLite", "expat", "zlib", "isa-l"}
    assert all(re.match(r"\d+\.\d+", version) for version in named.values()), named
    assert processor in {f"{MACHINE}, CSV by {simd}" for simd in SIMD[MACHINE]}
    assert kpid("--version", env={"KPID_SIMD": ""}).out == result.out


LOADED_LATE = ("libcurl.so.", "libmicrohttpd.so.")


def test_a_run_over_a_folder_loads_no_library_that_it_does_not_need(tmp_path):
    """They bring thirty others along, which take longer to load than the KPIs of a small folder."""
    assert kpid("sample", "--out", tmp_path / "in", "--orders", 9, "--days", 1).code == OK
    env = {"LD_DEBUG": "files", "LD_DEBUG_OUTPUT": str(tmp_path / "loaded")}
    run = kpid("run", "--date", DAY, "--no-publish", "--source", source_url(tmp_path / "in"), env=env)
    assert run.code == OK, run
    (report,) = tmp_path.glob("loaded.*")
    loaded = report.read_text(encoding="utf-8")
    assert "libsqlite3.so." in loaded
    assert not [name for name in LOADED_LATE if name in loaded]


def test_what_is_loaded_late_is_told_to_packagers():
    note = subprocess.run(
        ["readelf", "--string-dump=.note.dlopen", kpid_binary()], check=True, capture_output=True, text=True
    ).stdout
    told = [json.loads(text) for text in re.findall(r"\[\{.*\}\]", note)]
    assert all(re.match(r"lib(curl|microhttpd)\.so\.\d+$", soname) for (one,) in told for soname in one["soname"])
    assert sorted(one["feature"] for (one,) in told) == ["http-client", "http-server"]


@pytest.mark.parametrize("library", ["libcurl.so.4", "libmicrohttpd.so.12"])
def test_library_that_does_not_load_is_named(library, tmp_path):
    (tmp_path / library).write_text("no library", encoding="utf-8")
    env = {"LD_LIBRARY_PATH": str(tmp_path), "KPI_DB": str(tmp_path / "kpi.db"), "KPI_LISTEN": "127.0.0.1:0"}
    if library.startswith("libcurl"):
        result = kpid("run", "--date", DAY, "--no-publish", "--source", "s3://bucket/in", env=env)
    else:
        result = kpid("serve", env=env | {"KPI_SOURCE": source_url(tmp_path)})
    assert (result.code, result.error_code) == (SYSTEM, "library_missing"), result
    assert library in result.message and "Install the package" in result.hint
    assert not (tmp_path / "kpi.db").exists(), "nothing was touched"
    assert "missing" in kpid("version", env=env).out


def test_what_cuts_csv_is_what_was_asked_for():
    """So that tests of one kind of instructions run through no other."""
    for simd in {"scalar", os.environ.get("KPID_SIMD") or "scalar"}:
        assert kpid("version", env={"KPID_SIMD": simd}).out.splitlines()[2] == f"{MACHINE}, CSV by {simd}"


@pytest.mark.parametrize(
    "args",
    [
        ["version"],
        ["--version"],
        ["help"],
        ["check-config"],
        ["migrate"],
        ["sample", "--out", "in", "--orders", "9", "--days", "1"],
        ["run", "--date", DAY, "--no-publish"],
    ],
    ids=lambda args: args[0],
)
def test_output_that_cannot_be_written_is_no_success(args, tmp_path):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [str(kpid_binary()), *args],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=clean_env(KPI_SOURCE=source_url(BASE)),
            timeout=60,
            check=False,
        )
    assert done.returncode == DISK, done.stderr
    assert "kpid: disk_full: standard output: cannot be written" in done.stderr


# --- sources and output ------------------------------------------------------------------------


def test_source_comes_from_the_environment(tmp_path):
    result = kpid(
        "run",
        "--date",
        DAY,
        "--no-publish",
        "--out",
        tmp_path,
        env={"KPI_SOURCE": source_url(BASE)},
    )
    assert result.code == OK, result
    assert len(read_tables(tmp_path)["order_kpis"]) == 1


def test_source_option_wins_over_the_environment(tmp_path):
    result = run_base("--out", tmp_path, env={"KPI_SOURCE": "file:///nowhere"})
    assert result.code == OK, result


def test_missing_source_setting_is_refused():
    result = kpid("run", "--date", DAY, "--no-publish")
    assert result.code in (USAGE, CONFIG), result
    assert "KPI_SOURCE" in result.err or "--source" in result.err


@pytest.mark.parametrize("url", ["file:///nowhere/at/all", "file:///etc/passwd"])
def test_missing_folder_is_source_not_found(url):
    result = kpid("run", "--date", DAY, "--no-publish", "--source", url)
    assert (result.code, result.error_code) == (SOURCE, "source_not_found"), result
    assert result.hint


@pytest.mark.parametrize(
    "url", ["relative/folder", "ftp://host/x", "file://host/x", ""]
)
def test_unusable_source_url_is_refused(url):
    result = kpid("run", "--date", DAY, "--no-publish", "--source", url)
    assert result.code in (USAGE, CONFIG, SOURCE), result
    assert result.err.strip()


def test_unreadable_file_is_named(tmp_path):
    source = copy_base(tmp_path / "in")
    (source / "orders" / "a.csv").chmod(0)
    args = ("run", "--date", DAY, "--no-publish", "--source", source_url(source))
    # Root reads every file, unless it leaves that right behind.
    as_anybody = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")
    result = kpid(*args, through=as_anybody if os.geteuid() == 0 else ())
    assert (result.code, result.error_code) == (SOURCE, "source_unreadable"), result
    assert "orders/a.csv" in result.message


def test_dangling_link_is_unreadable(tmp_path):
    source = copy_base(tmp_path / "in")
    (source / "orders" / "z.csv").symlink_to(tmp_path / "gone")
    result = run_date(source, DAY, tmp_path / "out")
    assert result.code == SOURCE, result
    assert "orders/z.csv" in result.message


@pytest.mark.parametrize("rows", [0, 200_000])
@pytest.mark.parametrize("dataset", ["orders", "order_items", "products"])
def test_gzip_data_under_a_plain_name_is_called_so(dataset, rows, tmp_path):
    source = copy_base(tmp_path / "in")
    part = source / dataset / "a.csv"
    noise = hashlib.shake_128(b"noise").hexdigest(rows * 10).encode()
    part.write_bytes(gzip.compress(part.read_bytes() + noise))
    result = run_date(source, DAY, tmp_path / "out")
    assert (result.code, result.error_code) == (DATA, "csv_encoding"), result
    assert f"{dataset}/a.csv:1: the file is gzip data" in result.message


def test_output_folder_is_made(tmp_path):
    out = tmp_path / "a" / "b"
    assert run_base("--out", out).code == OK
    assert {path.name for path in out.iterdir()} == {
        "order_kpis.csv",
        "category_kpis.csv",
    }


def test_output_under_a_file_is_an_error(tmp_path):
    (tmp_path / "file").write_text("x")
    result = run_base("--out", tmp_path / "file" / "out")
    assert result.code not in (OK, INTERRUPTED), result
    assert str(tmp_path / "file") in result.err


def test_failed_run_leaves_the_previous_output(tmp_path):
    assert run_base("--out", tmp_path).code == OK
    before = (tmp_path / "order_kpis.csv").read_bytes()
    source = copy_base(tmp_path / "in")
    write_lines(source, "orders", ["9,9,c,garbage"], "b.csv")
    assert run_date(source, DAY, tmp_path).code == DATA
    assert (tmp_path / "order_kpis.csv").read_bytes() == before


def test_no_publish_makes_no_database(tmp_path):
    assert run_base(cwd=tmp_path).code == OK
    assert list(tmp_path.iterdir()) == []


def test_published_run_is_recorded_in_the_database(tmp_path):
    result = kpid("run", "--date", DAY, "--source", source_url(BASE), cwd=tmp_path)
    assert result.code == OK, result
    assert (tmp_path / "kpid.db").exists()


def test_day_without_data_has_no_rows(tmp_path):
    result = run_date(BASE, "2001-01-01", tmp_path)
    assert result.code == OK, result
    assert read_tables(tmp_path) == {"order_kpis": [], "category_kpis": []}


# --- formats -----------------------------------------------------------------------------------


def test_json_output_is_one_object():
    result = run_base("--format", "json")
    assert result.code == OK, result
    document = json.loads(result.out, parse_float=Decimal)
    assert set(document) >= {"order_kpis", "category_kpis", "quality"}
    assert list(document["order_kpis"][0]) == ORDER_COLUMNS
    assert list(document["category_kpis"][0]) == CATEGORY_COLUMNS
    assert document["order_kpis"][0]["total_revenue"] == Decimal("46.5")
    assert document["quality"]["status"] in ("passed", "warned", "failed")


def test_json_numbers_are_the_csv_numbers(tmp_path):
    document = json.loads(
        run_base("--format", "json", "--out", tmp_path / "json").out,
        parse_float=str,
        parse_int=str,
    )
    assert run_base("--out", tmp_path / "csv").code == OK
    for name, rows in read_tables(tmp_path / "csv").items():
        assert [
            {k: row[k] for k in row if not k.endswith("_exact")}
            for row in document[name]
        ] == rows
        assert (
            json.loads(
                (tmp_path / "json" / f"{name}.json").read_text(),
                parse_float=str,
                parse_int=str,
            )
            == document[name]
        )


def test_money_beyond_17_digits_has_an_exact_twin(tmp_path):
    source = write_source(
        tmp_path, [f"1,1,c,{DAY}"], [f"1,1,1,123456789012345678.25,c,{DAY}"], ["1,A,x"]
    )
    result = kpid(
        "run",
        "--date",
        DAY,
        "--no-publish",
        "--source",
        source_url(source),
        "--format",
        "json",
    )
    row = json.loads(result.out, parse_float=Decimal, parse_int=Decimal)["order_kpis"][
        0
    ]
    assert row["total_revenue_exact"] == "123456789012345678.25"
    assert len(row["total_revenue"].normalize().as_tuple().digits) <= 17
    assert float(row["total_revenue"]) == pytest.approx(
        1.2345678901234568e17, rel=1e-15
    )


def test_exact_twin_is_absent_where_nothing_is_lost():
    assert "_exact" not in run_base("--format", "json").out


def test_unknown_order_status_is_null_in_json(tmp_path):
    source = copy_base(tmp_path)
    (source / "orders" / "a.csv").write_text(
        f"order_id,user_id,created_at\n101,1,{DAY}\n"
    )
    result = kpid(
        "run",
        "--date",
        DAY,
        "--no-publish",
        "--source",
        source_url(source),
        "--format",
        "json",
    )
    row = json.loads(result.out)["order_kpis"][0]
    assert (row["returned_orders"], row["orders_returned_rate"]) == (None, None)


def test_csv_output_holds_both_tables():
    result = run_base("--format", "csv")
    assert result.code == OK, result
    assert ",".join(ORDER_COLUMNS) in result.out.splitlines()
    assert ",".join(CATEGORY_COLUMNS) in result.out.splitlines()
    assert "2023-01-15,2,46.5,3,0.5,2,1,0,0,23.25" in result.out.splitlines()
    assert (
        "Electronics,2023-01-15,21.5,10.75,0.5,2,2,1,1,0.5" in result.out.splitlines()
    )


def test_table_is_the_default_and_shows_every_category():
    result = run_base()
    assert result.code == OK, result
    assert result.out == run_base("--format", "table").out
    assert all(text in result.out for text in ("Electronics", "Home", "21.5", "46.5"))


def test_csv_files_quote_only_where_needed_and_neutralise_nothing(tmp_path):
    names = ["plain", "=1+1", "a,b", 'q"q', " lead", "semi;colon", "-5", "@x", "l\nf"]
    products = [
        f'{n},"{name.replace(chr(34), chr(34) * 2)}",x' for n, name in enumerate(names)
    ]
    source = write_source(
        tmp_path / "in",
        [f"1,1,c,{DAY}"],
        [f"{n},1,{n},1,c,{DAY}" for n in range(len(names))],
        products,
    )
    assert run_date(source, DAY, tmp_path / "out").code == OK
    raw = (tmp_path / "out" / "category_kpis.csv").read_bytes().decode()
    rows = list(csv.reader(io.StringIO(raw, newline="")))
    assert [row[0] for row in rows[1:]] == sorted(names)
    assert "\r" not in raw
    for form in (
        "\nplain,",
        "\n=1+1,",
        '\n"a,b",',
        '\n"q""q",',
        "\n lead,",
        "\nsemi;colon,",
        "\n-5,",
        "\n@x,",
    ):
        assert form in raw


def test_no_progress_on_a_pipe():
    result = run_base()
    assert "\r" not in result.err and "\x1b" not in result.err


# --- bad rows and quality gate -----------------------------------------------------------------


@pytest.fixture
def dirty(tmp_path):
    source = copy_base(tmp_path / "in")
    write_lines(
        source, "orders", ["104,4,c,garbage", "105,5,c,", f"106,6,c,{DAY}"], "b.csv"
    )
    return source


@pytest.mark.parametrize(
    "limit, exit_code", [("2", OK), ("1", DATA), ("50%", OK), ("1%", DATA), ("3", OK)]
)
def test_limit_of_bad_rows(dirty, limit, exit_code, tmp_path):
    result = run_date(
        dirty, DAY, tmp_path / "out", "--bad-rows", "skip", "--max-bad-rows", limit
    )
    assert result.code == exit_code, result
    if exit_code == OK:
        assert read_tables(tmp_path / "out")["order_kpis"][0]["total_orders"] == "3"
    else:
        assert result.error_code == "too_many_bad_rows"


def test_refused_value_is_named_with_file_line_and_column(dirty, tmp_path):
    result = run_date(dirty, DAY, tmp_path / "out")
    assert (result.code, result.error_code) == (DATA, "value_unparsable"), result
    assert "orders/b.csv:2" in result.message or "orders/b.csv:3" in result.message
    assert "created_at" in result.message


def test_quarantined_rows_are_reported(dirty):
    result = kpid(
        "run",
        "--date",
        DAY,
        "--no-publish",
        "--source",
        source_url(dirty),
        "--bad-rows",
        "skip",
        "--max-bad-rows",
        "2",
        "--format",
        "json",
    )
    quality = json.loads(result.out)["quality"]
    assert quality["status"] != "passed"
    dates = [check for check in quality["checks"] if check["unexpected_count"] == 2]
    assert any(
        example["object"] == "orders/b.csv" and example["line"] in (2, 3)
        for check in dates
        for example in check["examples"]
    ), dates


def day_without_rows(folder):
    return write_source(folder, ["1,1,c,2020-01-01"], [], ["1,A,x"])


def negative_prices(folder):
    return write_source(folder, [f"1,1,c,{DAY}"], [f"1,1,1,-5,c,{DAY}"], ["1,A,x"])


def orphans_only(folder):
    return write_source(
        folder, [f"1,1,c,{DAY}"], [f"{n},9,9,5,c,{DAY}" for n in range(9)], ["1,A,x"]
    )


def no_products(folder):
    return write_source(folder, [f"1,1,c,{DAY}"], [f"1,1,1,5,c,{DAY}"], [])


@pytest.mark.parametrize(
    "make", [copy_base, day_without_rows, negative_prices, orphans_only, no_products]
)
def test_quality_gate_blocks_exactly_what_the_report_calls_failed(make, tmp_path):
    source = make(tmp_path / "in")
    warned = run_date(
        source, DAY, tmp_path / "warn", "--quality-gate", "warn", "--format", "json"
    )
    assert warned.code == OK, warned
    failed = json.loads(warned.out)["quality"]["status"] == "failed"
    blocked = run_date(source, DAY, tmp_path / "block", "--quality-gate", "block")
    assert (blocked.code, blocked.error_code) == (
        (DATA, "quality_blocked") if failed else (OK, None)
    ), blocked
    assert (tmp_path / "block" / "order_kpis.csv").exists() is not failed
    assert run_date(source, DAY, tmp_path / "off", "--quality-gate", "off").code == OK


def test_a_clean_day_is_no_failure_and_a_day_without_rows_is_noticed(tmp_path):
    status = {}
    for make in (copy_base, day_without_rows):
        source = make(tmp_path / make.__name__)
        result = kpid(
            "run",
            "--date",
            DAY,
            "--no-publish",
            "--source",
            source_url(source),
            "--format",
            "json",
        )
        status[make] = json.loads(result.out)["quality"]["status"]
    assert status[copy_base] != "failed"
    assert status[day_without_rows] != "passed"


def test_report_has_the_promised_shape():
    quality = json.loads(run_base("--format", "json").out)["quality"]
    assert quality["status"] in ("passed", "warned", "failed")
    assert (
        len({check["id"] for check in quality["checks"]}) == len(quality["checks"]) >= 8
    )
    for check in quality["checks"]:
        assert set(check) >= {
            "id",
            "title",
            "dataset",
            "column",
            "severity",
            "status",
            "observed",
            "expected",
            "unexpected_count",
            "unexpected_percent",
            "examples",
            "blocking",
        }


# --- sample ------------------------------------------------------------------------------------


def sample(out, *options, orders=300, days=5, seed=7):
    return kpid(
        "sample",
        "--out",
        out,
        "--orders",
        orders,
        "--days",
        days,
        "--seed",
        seed,
        *options,
    )


def tree(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("options", [[], ["--dirty"]])
def test_sample_is_determined_by_its_seed(options, tmp_path):
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        assert sample(tmp_path / name, *options, seed=seed).code == OK
    assert tree(tmp_path / "a") == tree(tmp_path / "b") != tree(tmp_path / "c")


def test_sample_runs_and_has_the_asked_size(tmp_path):
    assert sample(tmp_path / "in").code == OK
    result = backfill(tmp_path / "in", tmp_path / "out")
    assert result.code == OK, result
    rows = read_tables(tmp_path / "out")["order_kpis"]
    assert len(rows) == 5
    assert sum(int(row["total_orders"]) for row in rows) == 300


def test_dirty_sample_needs_skip(tmp_path):
    assert sample(tmp_path / "in", "--dirty", orders=2000).code == OK
    assert backfill(tmp_path / "in", tmp_path / "out").code == DATA
    result = backfill(
        tmp_path / "in", tmp_path / "out", "--bad-rows", "skip", "--max-bad-rows", "50%"
    )
    assert result.code == OK, result
    assert read_tables(tmp_path / "out")["category_kpis"]


# --- settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, value",
    [
        ("KPI_SOURCE", "/tmp"),
        ("KPI_SOURCE", "ftp://x"),
        ("KPI_SOURCE", "file://host/x"),
        ("KPI_SOURCE", "file:/x"),
        ("KPI_SOURCE", "s3://"),
        ("KPI_SOURCE", "s3:///prefix"),
        pytest.param("KPI_SOURCE", "s3://bucket/" + "x" * 1100, id="long prefix"),
        ("KPI_LISTEN", "nonsense"),
        ("KPI_LISTEN", "127.0.0.1:70000"),
        ("KPI_THREADS", "-3"),
        ("KPI_THREADS", "x"),
        ("KPI_TIMEZONE", "Mars/Olympus"),
        ("KPI_TIMEZONE", "localtime"),
        ("KPI_TIMEZONE", "posixrules"),
        ("KPI_TIMEZONE", "posix/UTC"),
        ("KPI_TIMEZONE", "right/UTC"),
        ("KPI_BAD_ROWS", "perhaps"),
        ("KPI_MAX_BAD_ROWS", "150%"),
        ("KPI_STATUS_MATCH", "loose"),
        ("KPI_LOG_LEVEL", "loud"),
        ("KPI_DRAIN_SECONDS", "soon"),
        ("KPI_MEMORY_LIMIT", "lots"),
        ("KPI_KEEP_DAYS", "-1"),
        ("KPI_MAX_ACTIVE_RUNS", "0"),
        ("KPI_STALL_SECONDS", "1e3"),
        ("KPI_PUBLISH", "everywhere"),
    ],
)
@pytest.mark.parametrize("command", ["check-config", "serve"])
def test_wrong_setting_stops_the_start_and_is_named(command, name, value, tmp_path):
    result = kpid(
        command,
        env={
            "KPI_SOURCE": source_url(BASE),
            "KPI_DB": str(tmp_path / "k.db"),
            "KPI_LISTEN": "127.0.0.1:0",
            name: value,
        },
        timeout=20,
    )
    assert result.code == CONFIG, result
    assert name in result.err
    assert not (tmp_path / "k.db").exists()


def test_check_config_prints_every_setting():
    result = kpid(
        "check-config",
        env={"KPI_SOURCE": source_url(BASE), "KPI_MEMORY_LIMIT": "512MiB"},
    )
    assert result.code == OK, result
    for name in [
        "LISTEN",
        "SOURCE",
        "DB",
        "THREADS",
        "MAX_ACTIVE_RUNS",
        "TIMEZONE",
        "PUBLISH",
        "BAD_ROWS",
        "MAX_BAD_ROWS",
        "STATUS_MATCH",
        "UNKNOWN_CATEGORY",
        "LOG_LEVEL",
        "DRAIN_SECONDS",
        "STALL_SECONDS",
        "KEEP_DAYS",
        "MEMORY_LIMIT",
        "HEALTH_LISTEN",
    ]:
        assert f"KPI_{name}" in result.out, name


def settings_of_the_program() -> dict[str, str]:
    """Name and default of every setting; "" where it is unset."""
    printed = kpid("check-config").out
    found = re.findall(r"^(KPI_\w+)=.*\n.*\n    range: .*   default: (.*)$", printed, re.M)
    return {name: "" if default == "(unset)" else default for name, default in found}


def settings_of_the_readme() -> dict[str, str]:
    """The same from its tables; the default as it stands there, without backticks."""
    rows = re.findall(
        r"^\| *`?(KPI_\w+)`? *\|([^|]*)\|", README.read_text(encoding="utf-8"), re.M
    )
    assert len({name for name, _ in rows}) == len(rows), "a setting stands there twice"
    return {name: default.strip().strip("`") for name, default in rows}


def test_readme_lists_every_setting_with_its_default():
    program, readme = settings_of_the_program(), settings_of_the_readme()
    assert len(program) > 20
    assert sorted(readme) == sorted(program)
    # Where a setting is unset the table may say in words what that means.
    assert {name: readme[name] for name, default in program.items() if default} == {
        name: default for name, default in program.items() if default
    }


def test_business_zone_does_not_follow_tz(tmp_path):
    source = write_source(
        tmp_path / "in", ["1,1,c,2023-01-15T01:00:00Z"], [], ["1,A,x"]
    )
    assert backfill(source, tmp_path / "out", env={"TZ": "America/New_York"}).code == OK
    assert read_tables(tmp_path / "out")["order_kpis"][0]["order_date"] == DAY


def test_migrate_makes_and_keeps_a_database(tmp_path):
    env = {"KPI_DB": str(tmp_path / "k.db")}
    assert kpid("migrate", env=env).code == OK
    assert kpid("migrate", env=env).code == OK
    with sqlite3.connect(tmp_path / "k.db") as db:
        assert db.execute("PRAGMA user_version").fetchone()[0] > 0


def test_newer_database_is_refused(tmp_path):
    with sqlite3.connect(tmp_path / "k.db") as db:
        db.execute("PRAGMA user_version = 9999")
    before = (tmp_path / "k.db").read_bytes()
    result = kpid("migrate", env={"KPI_DB": str(tmp_path / "k.db")})
    assert result.code == CONFIG, result
    assert (tmp_path / "k.db").read_bytes() == before


def test_healthcheck_fails_where_nothing_listens():
    result = kpid("healthcheck", env={"KPI_LISTEN": "127.0.0.1:1"})
    assert result.code != OK


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_run_exits_130_and_writes_nothing(signal_number, tmp_path):
    source = slow_source(tmp_path / "in")
    process = subprocess.Popen(
        [
            str(kpid_binary()),
            "run",
            "--date",
            DAY,
            "--no-publish",
            "--source",
            source_url(source),
            "--out",
            str(tmp_path / "out"),
        ],
        env=clean_env(),
        stderr=subprocess.PIPE,
    )
    assert interrupted(process, signal_number) == INTERRUPTED
    assert not (tmp_path / "out" / "order_kpis.csv").exists()

"""What the object cache holds changes how long a run takes, and nothing else."""

import os
import random
import shutil
import signal
import subprocess
import time
from datetime import date, timedelta
from pathlib import Path

import pytest

from support.cases import ANY_DATE, Case, load_cases
from support.cli import CONFIG, OK, Result, dates_of, kpid, source_url
from support.datasets import BASE_DATES, copy_base, write_source
from support.oracle_sql import expected_tables
from support.paths import clean_env, kpid_binary
from support.random_data import Maker

CASES = load_cases()
SEEDS = range(20260201, 20260213)


def outcome(source: Path, command: list[str], options: list[str], env: dict[str, str]) -> tuple:
    """All that is printed of rows, quality and errors."""
    result = kpid(*command, "--source", source_url(source), "--no-publish", "--format", "json", *options, env=env)
    return result.code, result.out, result.err


def commands_of(dates: list[str]) -> list[list[str]]:
    """Some days, one without rows, all of them."""
    before = str(date.fromisoformat(dates[0]) - timedelta(days=1))
    return [*(["run", "--date", day] for day in [*dates, before]), ["backfill", "--all"]]


def differences(source: Path, commands: list[list[str]], options: list[str], env: dict[str, str], cache: Path) -> list:
    """Commands that say something else with a cache than without, be it empty at first, full, or filled by another."""
    found = []
    wanted = [outcome(source, command, options, env) for command in commands]

    def look(state: str, command: list[str], expected: tuple) -> None:
        if (got := outcome(source, command, options, {**env, "KPI_CACHE_DIR": str(cache)})) != expected:
            found.append((state, command, expected, got))

    for command, expected in zip(commands, wanted, strict=True):
        shutil.rmtree(cache, ignore_errors=True)
        look("empty", command, expected)
        look("full", command, expected)
    for command, expected in zip(commands[:-1], wanted[:-1], strict=True):
        look("of another", command, expected)
    return found


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case_is_the_same_with_a_cache(case: Case, tmp_path):
    dates = dates_of(case.expected) if case.expected else (case.refusal.dates if case.refusal else None) or [ANY_DATE]
    days = [day for day in dates if day > "0001-01-01"] or [ANY_DATE]
    commands = [["run", "--date", days[0]], ["backfill", "--all"]]
    assert differences(case.input, commands, case.options, case.env, tmp_path / "cache") == []


@pytest.mark.parametrize("seed", SEEDS)
def test_random_data_are_the_same_with_a_cache(seed: int, tmp_path):
    scenario = Maker(seed).scenario(tmp_path / "in")
    options = [*scenario.options, "--threads", str(scenario.threads)]
    days = dates_of(expected_tables(scenario.truth, scenario.order_status))
    assert differences(scenario.source, commands_of(days[:3]), options, scenario.env, tmp_path / "cache") == []


def sample(folder: Path, *options: str) -> Path:
    """Data of many chunks, days and blocks; items lie on other days than their orders, too."""
    made = kpid("sample", "--out", folder, "--from", "2024-01-01", "--seed", "7", *options)
    assert made.code == OK, made
    return folder


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    return sample(tmp_path_factory.mktemp("large") / "in", "--orders", "150000", "--days", "90", "--dirty")


LARGE_OPTIONS = ["--bad-rows", "skip", "--max-bad-rows", "50%"]
LARGE_DAYS = ["2024-01-01", "2024-02-14", "2024-03-30"]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("threads", ["1", "4"])
def test_much_data_is_the_same_with_a_cache(large, threads, tmp_path):
    options = [*LARGE_OPTIONS, "--threads", threads]
    assert differences(large, commands_of(LARGE_DAYS), options, {}, tmp_path / "cache") == []


def mixed(source: Path, folder: Path, seed: int, id_factor: int) -> Path:
    """The same rows in any order, their order ids multiplied, and a third of the items moved to other days."""
    rng = random.Random(seed)
    for dataset in "orders", "order_items", "products":
        files = sorted((source / dataset).iterdir())
        header = files[0].read_text().splitlines()[0]
        columns = header.split(",")
        lines = [line for file in files for line in file.read_text().splitlines()[1:]]
        rng.shuffle(lines)
        rows = [line.split(",") for line in lines]
        for row in rows:
            if "order_id" in columns and (order := row[columns.index("order_id")]).isdigit():
                row[columns.index("order_id")] = str(int(order) * id_factor)
            if dataset == "order_items" and rng.random() < 1 / 3 and (at := columns.index("created_at")) < len(row):
                row[at] = f"2024-01-{rng.randrange(1, 32):02}T12:00:00"
        (folder / dataset).mkdir(parents=True)
        for part in range(3):
            text = "\n".join(",".join(row) for row in rows[part::3])
            (folder / dataset / f"{part}.csv").write_text(f"{header}\n{text}\n")
    return folder


@pytest.mark.timeout(600)
@pytest.mark.parametrize("id_factor", [1, 1_000_003])
def test_mixed_rows_are_the_same_with_a_cache(id_factor, tmp_path):
    source = sample(tmp_path / "made", "--orders", "60000", "--days", "40", "--dirty")
    days = ["2024-01-01", "2024-01-20"]
    source = mixed(source, tmp_path / "in", 3, id_factor)
    assert differences(source, commands_of(days), LARGE_OPTIONS, {}, tmp_path / "cache") == []


DAY = BASE_DATES[0]


def run(source: Path, cache: Path, *options: str, **env: str) -> tuple:
    return outcome(source, ["run", "--date", DAY], list(options), {"KPI_CACHE_DIR": str(cache), **env})


def entries(cache: Path) -> dict[str, int]:
    """Files of the cache and when each was written."""
    return {file.name: file.stat().st_ino for file in cache.iterdir()}


def test_object_is_kept_once_and_used_again(tmp_path):
    source, cache = copy_base(tmp_path / "in"), tmp_path / "cache"
    run(source, cache)
    kept = entries(cache)
    assert len(kept) == sum(1 for file in source.rglob("*.csv*"))
    assert all(name.endswith(".rows") for name in kept)
    run(source, cache)
    assert entries(cache) == kept


def test_changed_object_is_read_again(tmp_path):
    cache = tmp_path / "cache"
    source = write_source(tmp_path, [f"1,1,c,{DAY}"], [f"1,1,1,5,c,{DAY}"], ["1,a,x"])
    run(source, cache)
    items = next((source / "order_items").iterdir())
    items.write_text(items.read_text().replace(",5,", ",6,"))
    wanted = outcome(source, ["run", "--date", DAY], [], {})
    assert '"6"' in wanted[1] or ":6" in wanted[1].replace(" ", "")
    assert run(source, cache) == wanted


def test_new_object_joins_those_that_are_kept(tmp_path):
    cache = tmp_path / "cache"
    source = write_source(tmp_path, [f"1,1,c,{DAY}"], [f"1,1,1,5,c,{DAY}", f"2,7,1,3,c,{DAY}"], ["1,a,x"])
    run(source, cache)
    header = next((source / "orders").iterdir()).read_text().splitlines()[0]
    (source / "orders" / "new.csv").write_text(f"{header}\n7,1,c,2001-01-01\n")
    assert run(source, cache) == outcome(source, ["run", "--date", DAY], [], {})


def test_zone_decides_on_days_with_a_cache_too(tmp_path):
    cache = tmp_path / "cache"
    moment = f"{DAY}T23:30:00Z"
    source = write_source(tmp_path, [f"1,1,c,{moment}"], [f"1,1,1,5,c,{moment}"], ["1,a,x"])
    for zone in "UTC", "Asia/Tokyo", "UTC":
        wanted = outcome(source, ["run", "--date", DAY], [], {"KPI_TIMEZONE": zone})
        assert run(source, cache, KPI_TIMEZONE=zone) == wanted


@pytest.mark.timeout(600)
def test_damage_is_found_wherever_it_is(tmp_path):
    """Bytes that are changed, cut off or added: the results are the same, and the entries are made anew."""
    source, cache, whole = copy_base(tmp_path / "in"), tmp_path / "cache", tmp_path / "whole"
    commands = commands_of([DAY])  # together they read every byte
    wanted = [outcome(source, command, [], {}) for command in commands]
    run(source, cache)
    cache.rename(whole)
    rng = random.Random(5)
    for trial in range(int(os.environ.get("KPID_CACHE_DAMAGES", "40"))):
        shutil.copytree(whole, cache)
        entry = rng.choice(sorted(cache.iterdir()))
        data = bytearray(entry.read_bytes())
        at = rng.randrange(len(data))
        if trial % 4 < 2:
            data[at] ^= 1 << rng.randrange(8)
        elif trial % 4 == 2:
            del data[at:]
        else:
            data += b"x"
        entry.write_bytes(data)
        for command, expected in zip(commands, wanted, strict=True):
            got = outcome(source, command, [], {"KPI_CACHE_DIR": str(cache)})
            assert got == expected, (trial, entry.name, at, command)
        run(source, cache)
        assert (cache / entry.name).read_bytes() != data, (trial, entry.name, at)
        shutil.rmtree(cache)


@pytest.mark.parametrize("threads", ["1", "8"])
def test_first_bad_row_is_told_also_when_the_cache_has_the_rows(threads, tmp_path):
    """Rows that are refused only now were kept in whatever order the workers had come to them."""
    day = f"{DAY} 10:00:00"
    orders = [f"{n},1,c,{'bad' if n > 9_000 and n % 997 == 5 else day}" for n in range(200_000)]
    source, cache = write_source(tmp_path / "in", orders, [f"1,1,1,5,c,{day}"], ["1,a,x"]), tmp_path / "cache"
    wanted = outcome(source, ["run", "--date", DAY], ["--threads", threads], {})
    assert wanted[0] != OK and "a.csv:9977:" in wanted[2], wanted
    skipping = ["--bad-rows", "skip", "--max-bad-rows", "5%", "--threads", "8"]
    for _ in range(3):
        shutil.rmtree(cache, ignore_errors=True)
        assert run(source, cache, *skipping)[0] == OK
        assert run(source, cache, "--threads", threads) == wanted


@pytest.mark.parametrize("start", ["", "\ufeff", "\ufeff\ufeff", "\n", "\n<", "\ufeff\n<", "\n\x1f\x8b", "\n\x00"], ids=repr)
def test_header_is_bound_as_in_the_object(start, tmp_path):
    source, cache = copy_base(tmp_path / "in"), tmp_path / "cache"
    products = next((source / "products").iterdir())
    header, rows = products.read_text(encoding="utf-8").split("\n", 1)
    first_line = start.rsplit("\n", 1)[-1].removeprefix("\ufeff") + f"x,{header}"
    lines = "\n".join(f"x,{line}" for line in rows.splitlines())
    products.write_bytes(f"{start}x,{header}\n{lines}\n{first_line}\n".encode())
    wanted = outcome(source, ["run", "--date", DAY], [], {})
    assert run(source, cache) == wanted
    kept = entries(cache)
    assert run(source, cache) == wanted
    assert entries(cache) == kept


def test_file_that_may_not_grow_is_done_without(large, tmp_path):
    """2 MiB: the products' entry fits, the others do not, nor does anything stay of them."""
    cache, options = tmp_path / "cache", [*LARGE_OPTIONS, "--no-publish", "--format", "json"]
    command = ["run", "--date", LARGE_DAYS[0], "--source", source_url(large), *options]
    through = ("bash", "-c", 'ulimit -f 2048; exec "$@"', "sh")
    result = kpid(*command, env={"KPI_CACHE_DIR": str(cache)}, through=through)
    wanted = kpid(*command)
    assert (result.code, result.out, result.err) == (wanted.code, wanted.out, wanted.err) and wanted.code == OK
    assert [file.stat().st_size < 1 << 20 for file in cache.iterdir()] == [True]


def test_entry_of_another_object_is_not_taken(tmp_path):
    source, cache = copy_base(tmp_path / "in"), tmp_path / "cache"
    wanted = run(source, cache)
    files = sorted(cache.iterdir())
    swapped = [file.read_bytes() for file in files]
    for file, data in zip(files, swapped[1:] + swapped[:1], strict=True):
        file.write_bytes(data)
    assert run(source, cache) == wanted


def test_folder_may_be_emptied_at_any_time(tmp_path):
    source, cache = copy_base(tmp_path / "in"), tmp_path / "cache"
    wanted = run(source, cache)
    for file in cache.iterdir():
        file.unlink()
    assert run(source, cache) == wanted


def test_limit_is_kept_and_the_least_used_go_first(large, tmp_path):
    cache = tmp_path / "cache"
    env = {"KPI_CACHE_DIR": str(cache), "KPI_CACHE_MAX_BYTES": "4MiB"}
    wanted = outcome(large, ["run", "--date", LARGE_DAYS[0]], LARGE_OPTIONS, {})
    for _ in range(2):
        assert outcome(large, ["run", "--date", LARGE_DAYS[0]], LARGE_OPTIONS, env) == wanted
        sizes = [file.stat().st_size for file in cache.iterdir()]
        assert sizes and sum(sizes) <= 4 * 1024 * 1024


def test_used_entries_outlive_others(tmp_path):
    cache = tmp_path / "cache"
    old = copy_base(tmp_path / "old")
    new = copy_base(tmp_path / "new")
    run(old, cache)
    hour_ago = time.time() - 3600
    for file in cache.iterdir():
        os.utime(file, (hour_ago, hour_ago))
    filler = cache / ("0" * 64 + ".rows")
    filler.write_bytes(bytes(1024 * 1024))
    os.utime(filler, (hour_ago + 60, hour_ago + 60))
    run(old, cache)  # marks what it uses
    kept = set(entries(cache)) - {filler.name}
    run(new, cache, KPI_CACHE_MAX_BYTES="1MiB")
    assert kept <= set(entries(cache))
    assert not filler.exists()


def test_folder_that_cannot_be_made_stops_the_start(tmp_path):
    (tmp_path / "file").write_text("")
    source = copy_base(tmp_path / "in")
    env = {"KPI_CACHE_DIR": str(tmp_path / "file" / "cache")}
    result: Result = kpid("run", "--date", DAY, "--source", source_url(source), "--no-publish", env=env)
    assert (result.code, result.error_code) == (CONFIG, "config_invalid"), result
    assert "KPI_CACHE_DIR" in result.message


def test_process_that_is_killed_leaves_no_half_entry(large, tmp_path):
    cache = tmp_path / "cache"
    command = ["run", "--date", LARGE_DAYS[1], "--no-publish", "--source", source_url(large), *LARGE_OPTIONS]
    wanted = outcome(large, ["run", "--date", LARGE_DAYS[1]], LARGE_OPTIONS, {})
    rng = random.Random(11)
    for _ in range(6):
        process = subprocess.Popen(
            [kpid_binary(), *command],
            env=clean_env(KPI_CACHE_DIR=str(cache)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(rng.uniform(0.02, 0.3))
        process.send_signal(signal.SIGKILL)
        process.wait()
    env = {"KPI_CACHE_DIR": str(cache)}
    assert outcome(large, ["run", "--date", LARGE_DAYS[1]], LARGE_OPTIONS, env) == wanted
    day_ago = time.time() - 86400
    for file in cache.glob("*.new"):
        os.utime(file, (day_ago, day_ago))
    assert outcome(large, ["run", "--date", LARGE_DAYS[1]], LARGE_OPTIONS, env) == wanted
    assert not list(cache.glob("*.new"))

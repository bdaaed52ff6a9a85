"""The object cache: one date again, and the first run of a new day, by fresh processes on 1.26 GB of CSV.

The targets: with the cache one date takes at most 20 ms, and the fastest peer at least 50 times as long; when the objects
of a new day join, their day takes at most three times as long as those objects alone.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from contender import KPID, Contender, Rows, compare, kpid_rows, peer_rows
from peers_compare import DATE, SIZES, sample
from support.cli import OK, kpid, source_url
from support.paths import REPO, clean_env, kpid_binary

PEERS = ("duckdb", "polars", "chdb", "datafusion")
WARM_S_MAX, TIMES_OF_WARM_MIN, TIMES_OF_ALONE_MAX = 0.020, 50, 3
NEW_DAY, NEW_ORDERS = "2025-01-01", SIZES["M"] // 365
ID_GAP = 100_000_000  # between ids of the new day and those before


def new_objects(folder: Path) -> Path:
    """Objects of one more day, with the same products."""
    made = kpid("sample", "--out", folder, "--orders", NEW_ORDERS, "--days", 1, "--seed", 42, "--from", NEW_DAY)
    assert made.code == OK, made
    for dataset, columns in {"orders": ("order_id",), "order_items": ("id", "order_id")}.items():
        for file in (folder / dataset).iterdir():
            header, *lines = file.read_text(encoding="utf-8").splitlines()
            places = [header.split(",").index(column) for column in columns]
            rows = [line.split(",") for line in lines]
            for row in rows:
                for place in places:
                    row[place] = str(int(row[place]) + ID_GAP)
            file.write_text("\n".join([header, *map(",".join, rows)]) + "\n", encoding="utf-8")
            file.rename(file.with_name(f"new-{file.name}"))
    return folder


def one_date(name: str, day: str, source: Path, out: Path, rounds: int, cache: Path | None = None) -> Contender:
    command = [kpid_binary(), "run", "--no-publish", "--date", day, "--source", source_url(source), "--out", out]
    environment = clean_env(**({"KPI_CACHE_DIR": str(cache)} if cache else {}))
    return Contender(name, list(map(str, command)), rounds, environment)


def rows_of(contender: Contender, out: Path) -> Rows:
    """Those of one more run."""
    text = contender.run()
    return kpid_rows(out) if contender.command[0] == str(kpid_binary()) else peer_rows(text)


def again(folder: Path, data: Path, peers: list[str], rounds: int) -> list[Contender]:
    """One date, with and without a cache, beside peers; the first run with a cache is told, too."""
    out, cache = folder / "out", folder / "cache"
    without = one_date(KPID, DATE, data, out, rounds)
    first = one_date("kpid, the first run with a cache", DATE, data, out, 1, cache)
    first.tries = 1
    next_run = one_date("kpid, the next", DATE, data, out, rounds, cache)
    contenders = [without, next_run]
    for peer in peers:
        script = REPO / "bench" / "peers" / f"{peer}_kpis.py"
        contenders.append(Contender(peer, [sys.executable, str(script), str(data), DATE], rounds, clean_env()))
    expected = rows_of(without, out)
    compare(first.name, rows_of(first, out), expected)
    without.forget()
    for number in range(rounds + 1):
        for contender in contenders:
            compare(contender.name, rows_of(contender, out), expected)
            if number == 0:
                contender.forget()
    return [first, *contenders]


def new_day(folder: Path, data: Path, rounds: int) -> list[Contender]:
    """A day whose objects have just come, beside the run of these objects alone."""
    out, cache, new = folder / "out", folder / "cache", new_objects(folder / "new")
    held = set(cache.iterdir())
    for dataset in "orders", "order_items":
        for file in (new / dataset).iterdir():
            shutil.copy(file, data / dataset)
    alone = one_date("the new objects alone, without a cache", NEW_DAY, new, out, rounds)
    joined = one_date("the new day, all other objects cached", NEW_DAY, data, out, rounds, cache)
    joined.tries = 1
    for number in range(rounds + 1):
        expected = rows_of(alone, out)
        compare(joined.name, rows_of(joined, out), expected)
        for file in set(cache.iterdir()) - held:
            file.unlink()
        if number == 0:
            alone.forget()
            joined.forget()
    return [alone, joined]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--data", type=Path, help="a folder where the data set is kept and found again")
    args = parser.parse_args()
    if args.data:
        args.data.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kpid-bench-", dir=args.data) as temporary:
        folder = Path(temporary)
        data = folder / "data"
        made = sample(args.data or folder, SIZES["M"])
        shutil.copytree(made, data, copy_function=lambda file, to: Path(to).hardlink_to(file))
        of_date = again(folder, data, args.peers, args.rounds)
        of_new_day = new_day(folder, data, args.rounds)
    for contender in of_date + of_new_day:
        print(f"{contender.name:40} {contender.median:8.3f} s {contender.cpu:8.3f} CPU s {contender.peak_mb:6.0f} MB")
    warm, fastest = of_date[2].median, min(peer.median for peer in of_date[3:])
    alone, joined = (contender.median for contender in of_new_day)
    targets = {
        f"one date again: {warm * 1000:.1f} ms, wanted {WARM_S_MAX * 1000:.0f}": warm <= WARM_S_MAX,
        f"fastest peer: {fastest / warm:.0f} x, wanted {TIMES_OF_WARM_MIN}": fastest >= TIMES_OF_WARM_MIN * warm,
        f"new day: {joined / alone:.2f} x its objects alone, wanted {TIMES_OF_ALONE_MAX} at most": joined
        <= TIMES_OF_ALONE_MAX * alone,
    }
    for text, is_met in targets.items():
        print(f"{text}: {'met' if is_met else 'not met'}")
    return 0 if all(targets.values()) else 1


if __name__ == "__main__":
    sys.exit(main())

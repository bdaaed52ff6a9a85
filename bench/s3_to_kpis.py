"""From S3 to the KPIs of one date: kpid, the floor under it, and what others make of the same objects.

Every contender is a fresh process against the same strict S3 server on loopback, round after round; their results are
compared before a time counts. The server takes a good part of the cores that the rows need; with --gbit it answers only so
fast in all (by toxiproxy), as the network of a small task does. Prints medians and ratios. Run it by scripts/bench.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from contender import Contender, Rows, compare, cpu_seconds, kpid_rows, peer_rows
from support.aws_site import no_credentials, static_credentials
from support.paths import REPO, clean_env, kpid_binary
from support.s3_server import REGION, S3Server, files_of
from toxiproxy import Toxiproxy

DATE = "2024-05-05"
CONCURRENCY = 8
KB_A_GBIT = 125_000
PEERS = ("polars", "duckdb", "chdb", "spark")


def upload(server: S3Server, data: Path) -> tuple[str, int]:
    bucket = server.bucket("bench")
    files = list(files_of(data))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda f: bucket.client.upload_file(str(f[1]), bucket.name, f"Data/{f[0]}"), files))
    return bucket.name, sum(path.stat().st_size for _, path in files)


def contenders(args: argparse.Namespace, url: str, bucket: str, data: Path, out: Path) -> list[Contender]:
    aws = {
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL_S3": url,
        "KPI_S3_CONCURRENCY": str(CONCURRENCY),
        **no_credentials(out),
        **static_credentials(),
    }
    env = clean_env(**aws)
    kpid = [str(kpid_binary()), "run", "--date", DATE, "--no-publish", "--out"]
    download = str(kpid_binary().parent / "bench_download")
    found = [
        Contender("download only", [download, bucket, "Data/", str(CONCURRENCY)], args.rounds, env),
        Contender("kpid, files", [*kpid, str(out / "files"), "--source", f"file://{data}"], args.rounds, env),
        Contender("kpid, S3", [*kpid, str(out / "s3"), "--source", f"s3://{bucket}/Data"], args.rounds, env),
    ]
    peer_env = {k: v for k, v in env.items() if not k.startswith("KPI_")} | {"SPARK_JARS": args.spark_jars}
    for name in args.peers:
        script = REPO / "bench" / "peers" / f"{name}_kpis.py"
        rounds = min(args.rounds, 3) if name == "spark" else args.rounds
        found.append(Contender(name, [sys.executable, str(script), f"s3://{bucket}/Data", DATE], rounds, peer_env))
    for contender in found:
        contender.tries = 1  # what the server does for it is counted beside it
    return found


def race(all_of_them: list[Contender], server: S3Server, out: Path) -> None:
    """Round by round, everybody in turn; the first round warms up and is not counted."""
    expected: Rows = {}
    for number in range(max(c.rounds for c in all_of_them) + 1):
        for contender in all_of_them:
            if number > contender.rounds:
                continue
            served = cpu_seconds(server.process.pid)
            text = contender.run()
            contender.cpu_seconds[-1] += cpu_seconds(server.process.pid) - served
            if contender.name == "kpid, S3":
                compare("kpid from files", kpid_rows(out / "files"), kpid_rows(out / "s3"))
                expected = kpid_rows(out / "s3")
            elif contender.name in PEERS:
                compare(contender.name, peer_rows(text), expected)
            print(f"  round {number}: {contender.name:14} {contender.seconds[-1]:7.2f} s", flush=True)
            if number == 0:
                contender.forget()


def report(all_of_them: list[Contender], size: int) -> bool:
    by_name = {contender.name: contender for contender in all_of_them}
    ours = by_name["kpid, S3"].median
    print(f"\n{size / 1e9:.2f} GB, one date, medians; CPU with that of the S3 server; peak memory of the process")
    for c in all_of_them:
        print(
            f"  {c.name:14} {c.median:7.2f} s  {c.cpu:6.2f} CPU s"
            f"  {size / 1e9 / c.median:6.2f} GB/s  {c.peak_mb:7.0f} MB  {c.median / ours:6.2f} x kpid"
        )
    download, files = by_name["download only"], by_name["kpid, files"]
    # The server is on this machine: what it and the download need of the cores is not there for the rows.
    cpu_bound = (download.cpu + files.cpu) / os.cpu_count()
    floor = max(1.15 * download.median, files.median, cpu_bound)
    print(
        f"  floor: {floor:.2f} s, the largest of 1.15 x download {1.15 * download.median:.2f}, files "
        f"{files.median:.2f}, CPU of both over {os.cpu_count()} cores {cpu_bound:.2f}: kpid from S3 takes "
        f"{ours / floor:.2f} x that, and {ours / download.median:.2f} x the download"
    )
    wanted = {"floor": ours <= 1.05 * floor}
    wanted |= {name: by_name[name].median >= 2 * ours for name in ("polars", "duckdb") if name in by_name}
    if "spark" in by_name:
        wanted["spark"] = by_name["spark"].median >= 3 * ours
    print(f"  targets (floor within 5 %, 2 x polars and duckdb, 3 x spark): {wanted}")
    return all(wanted.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--gbit", type=float, default=0, help="a second, of all connections; 0: no limit")
    parser.add_argument("--toxiproxy", default="toxiproxy-server", help="program that limits them")
    parser.add_argument("--spark-jars", default="", help="comma separated, with hadoop-aws")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kpid-bench-") as folder:
        data, out = Path(folder) / "data", Path(folder) / "out"
        sample = ["--orders", str(args.orders), "--days", "365", "--seed", "1", "--from", "2024-03-01"]
        subprocess.run([kpid_binary(), "sample", "--out", data, *sample], check=True)
        server = S3Server(Path(folder) / "s3").start()
        proxy = Toxiproxy(Path(folder) / "toxiproxy", args.toxiproxy)
        try:
            bucket, size = upload(server, data)
            url = server.url
            if args.gbit:
                url = proxy.start().before(server.port, "bandwidth", rate=int(args.gbit * KB_A_GBIT / CONCURRENCY))
            entrants = contenders(args, url, bucket, data, out)
            race(entrants, server, out)
        finally:
            proxy.stop()
            server.stop()
        sys.exit(0 if report(entrants, size) else 1)


if __name__ == "__main__":
    main()

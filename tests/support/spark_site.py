"""What a test of the Spark engine works on: a cluster of either kind, a bucket for its files, and the program's settings."""

from pathlib import Path

from support.aws_site import no_credentials, static_credentials
from support.datasets import BASE_DATES
from support.emr_emulator import APPLICATION, EmrEmulator
from support.processes import processes_of
from support.s3_server import REGION, Bucket, S3Server
from support.server import Server
from support.spark import KPI_JOB, SMALL
from support.spark_cluster import SparkCluster
from support.spark_s3 import s3a_conf

ROLE = "arn:aws:iam::123456789012:role/kpi-job"
RUN_SECONDS = 240  # on a busy machine
CLOSE_SECONDS = 30  # so long a driver may take to end after its job has, and the service to remove its files
DAY = BASE_DATES[0]
ENGINE_ERRORS = {"engine_unavailable", "engine_failed"}


def conf_settings(conf: dict[str, str]) -> dict[str, str]:
    """KPI_SPARK_CONF_* of properties of Spark."""
    return {f"KPI_SPARK_CONF_{name.replace('.', '_')}": value for name, value in conf.items()}


class SparkSite:
    """One cluster, with the job in a bucket of its own."""

    def __init__(self, folder: Path, s3: S3Server, cluster: SparkCluster | EmrEmulator):
        self.folder, self.s3, self.cluster = folder, s3, cluster
        self.bucket: Bucket = s3.bucket()
        self.bucket.put("jobs/kpi_job.py", KPI_JOB.read_bytes())
        self.sources = 0

    @property
    def is_emr(self) -> bool:
        return isinstance(self.cluster, EmrEmulator)

    @property
    def kind(self) -> str:
        return "EMR Serverless" if self.is_emr else "standalone"

    def source(self, folder: Path) -> str:
        """The URL of a folder's files as objects."""
        self.sources += 1
        return self.bucket.upload(folder, f"data-{self.sources}").url(f"data-{self.sources}")

    def settings(self) -> dict[str, str]:
        common = {
            "KPI_SPARK_JOB_URI": self.bucket.url("jobs/kpi_job.py"),
            "KPI_SPARK_WORK_URI": self.bucket.url("work"),
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL_S3": self.s3.url,
            **no_credentials(self.folder),
            **static_credentials(),
        }
        return {**common, **(self.of_emr() if self.is_emr else self.of_standalone())}

    def of_emr(self) -> dict[str, str]:
        return {
            "KPI_SPARK_KIND": "emr-serverless",
            "KPI_SPARK_APPLICATION_ID": APPLICATION,
            "KPI_SPARK_ROLE_ARN": ROLE,
            "AWS_ENDPOINT_URL_EMR_SERVERLESS": self.cluster.url,
        }

    def of_standalone(self) -> dict[str, str]:
        size = {"spark.driver.memory": "768m", "spark.executor.memory": "768m", "spark.cores.max": "1"}
        return {
            "KPI_SPARK_KIND": "standalone",
            "KPI_SPARK_REST_URL": self.cluster.rest_url,
            "KPI_SPARK_MASTER": self.cluster.url,
            **conf_settings({**s3a_conf(self.s3.url, self.cluster.release), **SMALL, **size}),
        }

    def submissions(self) -> int:
        """How many jobs the cluster ever got."""
        return len(self.cluster.jobs) if self.is_emr else len(self.cluster.submissions())

    def kill_driver(self, run: str) -> None:
        """Ends the driver of a run's first job from outside."""
        if self.is_emr:
            [job] = [job for job in self.cluster.jobs.values() if job.request["clientToken"] == f"kpi-{run}-1"]
            job.kill()
        else:
            self.cluster.kill_driver(f"/kpi-runs/{run}/1/spec.json")

    def last_state(self) -> list[str]:
        """What the cluster says of the job that it got last; empty: it got none yet."""
        if self.is_emr:
            return [job.state for job in self.cluster.jobs.values()][-1:]
        return [self.cluster.state(job) for job in self.cluster.submissions()[-1:]]

    def processes(self, run: str) -> list[int]:
        """The live processes of a run's drivers, of all attempts that a test makes."""
        return [pid for attempt in (1, 2, 3) for pid in processes_of(f"/kpi-runs/{run}/{attempt}/spec.json")]

    def left(self, run: str) -> list[str]:
        """The objects that are left of a run's work."""
        return self.bucket.keys(f"work/kpi-runs/{run}/")

    def has_begun(self, run: str) -> bool:
        """Whether a job of the run has told of its progress."""
        return any(key.endswith("/progress.json") for key in self.left(run))


def spark_run(server: Server, date: str = DAY, **fields: object) -> str:
    """Submits a run: its id."""
    return server.start_run(date, engine="spark", **fields)["id"]


def finished(server: Server, run: str) -> dict:
    return server.finish(run, RUN_SECONDS)


def assert_failed(server: Server, run: str, *codes: str) -> dict:
    """The run failed by one of these codes, and published nothing: its error."""
    end = finished(server, run)
    assert end["state"] == "failed" and end["error"]["code"] in codes, end
    for kpi in ("orders", "categories"):
        assert server.get(f"/kpis/{kpi}?from={DAY}&to={DAY}").json["rows"] == [], kpi
    return end["error"]


def answers(server: Server, run: str) -> dict[str, object]:
    """What a run found, as clients read it."""
    found: dict[str, object] = {
        kpi: server.get(f"/runs/{run}/results?kpi={kpi}&limit=200").json["rows"] for kpi in ("orders", "categories")
    }
    quality = server.get(f"/runs/{run}/quality").json
    return {**found, "checks": quality["checks"], "profile": quality["profile"]}



"""Spark on a local S3 server: its settings, and specs and results as objects."""

from support.aws_site import static_credentials
from support.s3_server import REGION, Bucket
from support.spark import RELEASE, Outcome, make_spec, write_spec
from support.tools import spark_jars

WORK = "work"  # the prefix of a bucket that stands for KPI_SPARK_WORK_URI


def s3a_conf(url: str, release: str = RELEASE) -> dict[str, str]:
    """What Spark has to be told of an S3 server; never credentials, which everybody sees who sees the command."""
    jars = ":".join(map(str, spark_jars(release)))
    return {
        "spark.driver.extraClassPath": jars,
        "spark.executor.extraClassPath": jars,
        "spark.hadoop.fs.s3a.endpoint": url,
        "spark.hadoop.fs.s3a.endpoint.region": REGION,
        "spark.hadoop.fs.s3a.path.style.access": "true",
        "spark.hadoop.fs.s3a.connection.ssl.enabled": "false",
        "spark.hadoop.fs.s3a.directory.marker.retention": "keep",  # else each file written asks for all folders above it
        "spark.hadoop.fs.s3a.attempts.maximum": "2",  # of what is not there no more attempts help
        "spark.hadoop.fs.s3a.retry.limit": "2",
    }


def s3a_env() -> dict[str, str]:
    """The credentials for it, which the driver hands on to the executors."""
    return {**static_credentials(), "AWS_REGION": REGION}


def s3_objects(source: dict, bucket: Bucket, prefix: str) -> dict:
    """The data sets of a spec of files, as the objects that they were uploaded as."""
    pages = bucket.client.get_paginator("list_objects_v2").paginate(Bucket=bucket.name, Prefix=prefix)
    listed = {found["Key"]: found for page in pages for found in page.get("Contents", [])}

    def of(file):
        key = f"{prefix}/{file['name']}"
        modified_ms = int(listed[key]["LastModified"].timestamp() * 1000)
        return {**file, "uri": f"s3a://{bucket.name}/{key}", "etag": listed[key]["ETag"], "modified_ms": modified_ms}

    return {name: [of(file) for file in files] for name, files in source["datasets"].items()}


class S3Trial:
    """A data set in a bucket, and the spec of a run over it."""

    def __init__(self, folder, bucket: Bucket, name: str, source, **fields):
        self.folder, self.bucket, self.name, self.source = folder / name, bucket, name, source
        spec = make_spec(source, run_id=name, **fields)
        bucket.upload(source, name)
        spec["datasets"] = s3_objects(spec, bucket, name)
        self.put_spec(spec)

    def put_spec(self, spec) -> None:
        self.spec = spec
        local = write_spec(self.folder, spec).removeprefix("file://")
        self.prefix = f"{WORK}/kpi-runs/{self.name}/{spec['attempt']}"
        with open(local, "rb") as file:
            self.bucket.put(f"{self.prefix}/spec.json", file.read())

    @property
    def uri(self) -> str:
        return f"s3a://{self.bucket.name}/{self.prefix}/spec.json"

    def keys(self) -> list[str]:
        """What is there of the run and its attempts, by its name below the work prefix."""
        return [key.removeprefix(f"{WORK}/") for key in self.bucket.keys(f"{WORK}/kpi-runs/{self.name}/")]

    def outcome(self, code: int) -> Outcome:
        """What the job left behind."""
        for key in self.bucket.keys(self.prefix):
            path = self.folder / key.removeprefix(f"{WORK}/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.bucket.get(key))
        return Outcome(f"file://{self.folder}/kpi-runs/{self.name}/{self.spec['attempt']}/spec.json", code)

"""spark-submit run_specs.py JOB SPEC_URI...: runs the job on many specs in one session, and prints the exit code of each."""

import runpy
import sys
import time

from pyspark.sql import SparkSession

job, *uris = sys.argv[1:]
spark = SparkSession.builder.getOrCreate()
spark.sparkContext.setLogLevel("OFF")  # many of these runs are to fail
for uri in uris:
    began = time.monotonic()
    run = runpy.run_path(job, run_name="kpi_job_by_path")["run"]
    code = run(spark, uri)
    print(f"spec {uri} {code}\ntook {time.monotonic() - began:.1f} s", flush=True)

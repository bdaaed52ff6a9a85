"""The Spark job as a module, without Spark."""

import importlib.util
import sys

from support.paths import REPO

KPI_JOB = REPO / "pipeline" / "spark" / "kpi_job.py"


def load_job():
    """The job's file, which is no package's."""
    spec = importlib.util.spec_from_file_location("kpi_job", KPI_JOB)
    module = importlib.util.module_from_spec(spec)
    sys.modules["kpi_job"] = module
    spec.loader.exec_module(module)
    return module


kpi_job = load_job()

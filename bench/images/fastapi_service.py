"""What kpid does before its first run, with what its like is usually made of."""

import boto3  # noqa: F401
import pandas  # noqa: F401
from fastapi import FastAPI

app = FastAPI()


@app.get("/healthz")
def healthz() -> str:
    return "ok"

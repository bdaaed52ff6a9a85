# The same kind of service as it is often written.
ARG BASE
FROM ${BASE}
RUN apt-get update && apt-get install -y --no-install-recommends python3-fastapi python3-uvicorn python3-boto3 python3-pandas \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt
COPY fastapi_service.py /service.py
ENV PYTHONPATH=/
CMD ["python3", "-m", "uvicorn", "--host", "127.0.0.1", "--port", "18095", "--log-level", "warning", "service:app"]

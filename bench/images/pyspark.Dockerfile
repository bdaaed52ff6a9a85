# The image that kpid replaces: a JVM, Spark and Python. It answers when Spark has counted something. /wheels is mounted.
ARG BASE
FROM ${BASE}
RUN apt-get update && apt-get install -y --no-install-recommends default-jre-headless procps python3-pip \
 && pip install --break-system-packages --no-cache-dir --no-index --find-links /wheels pyspark boto3 && rm -rf /var/lib/apt/lists/* /var/cache/apt
COPY pyspark_service.py /service.py
CMD ["python3", "/service.py"]

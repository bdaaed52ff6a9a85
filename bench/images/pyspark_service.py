"""Answers on 18095 when Spark has counted something."""

from http.server import BaseHTTPRequestHandler, HTTPServer

from pyspark.sql import SparkSession

assert SparkSession.builder.config("spark.ui.enabled", "false").getOrCreate().range(1000).count() == 1000


class Health(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()


HTTPServer(("127.0.0.1", 18095), Health).serve_forever()

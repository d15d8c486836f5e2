"""The OpenAPI document, and schemathesis's fuzzing of what it describes: no 5xx of the server's own, only answers that
it names. One example wakes no more than what runs already."""

import os
import subprocess
import sys

import requests


def test_document(addr):
    document = requests.get(f"http://{addr}/openapi.json").json()
    assert document["openapi"].startswith("3.1") and "/v2/models/{model}/infer" in document["paths"]
    model = document["paths"]["/v1/models/{model}:predict"]["post"]["parameters"][0]
    assert "digits" in model["schema"]["enum"]


def test_fuzz(addr, tmp_path):
    command = [os.path.join(os.path.dirname(sys.executable), "schemathesis"), "run", f"http://{addr}/openapi.json", "--max-examples", "5", "--seed", "1",
               "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
               "negative_data_rejection,unsupported_method",
               "--phases", "examples,coverage,fuzzing", "--generation-database", "none"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]

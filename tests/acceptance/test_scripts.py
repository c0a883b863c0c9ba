"""A job says which version of its scripts it runs."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

from tests.acceptance.programs import Program, append, numbers_in, until, written

SCRIPTS = """
[[services]]
provider = "udf"
name = "scripts"
script_path = "."
engine = { kind = "python" }
sources = [{ filename = "add.py", content = "def transform(data): return {'n': data['n'] + 1}" }]
"""
STEP = 'middlewares = [{ service_name = "scripts", resource = "add.py" }]'


def test_a_job_says_which_version_of_its_scripts_it_runs(tmp_path: Path) -> None:
    written(tmp_path, runtime="inline", extra=STEP, more=SCRIPTS)
    append(tmp_path, [1, 2])
    (tmp_path / "add.py").write_text("# mine\n")
    with Program(tmp_path) as program, closing(program.ready()) as client:
        until(lambda: numbers_in(tmp_path / "out.jsonl") == [2, 3], "the script has run")

        def job() -> Any:
            return client.get("/jobs/copy").json()

        version = client.get("/services/scripts").json()["script_version"]
        assert job()["script_versions"] == {"scripts": version}
        client.post("/jobs/copy/stop?wait=20")
        assert job()["script_versions"] == {}
    assert (tmp_path / "add.py").read_text() == "# mine\n"

"""What a line of the log says, and what it never says."""

from __future__ import annotations

import json
import logging

import pytest

from mstream.errors import UsageError
from mstream.observability.logs import LogFormat, chosen_format, chosen_level, configure, get_logger


@pytest.mark.parametrize("form", LogFormat)
def test_secrets_are_masked_wherever_they_stand(form: LogFormat, capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", form)
    url = "postgres://user:planted@host/db?password=planted"
    log = get_logger("here")

    log.info("job_started", url=url, nested={"urls": [url]}, error=ValueError(url))
    logging.getLogger("library").warning("at %s", url)
    try:
        int(url)
    except ValueError:
        log.exception("job_failed")

    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") >= 3
    assert "planted" not in output.err
    assert "host/db" in output.err


def test_json_lines_have_the_event_and_its_fields(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", LogFormat.JSON)

    get_logger("here").info("job_started", job="copy", count=3)

    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["level"], line["job"], line["count"]) == ("job_started", "info", "copy", 3)


def test_what_is_below_the_level_is_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    configure("warn")

    get_logger("here").info("quiet")
    get_logger("here").warning("loud")

    output = capsys.readouterr().err
    assert "loud" in output
    assert "quiet" not in output


@pytest.mark.parametrize(
    ("option", "environ", "level"),
    [
        (None, {}, "info"),
        ("DEBUG", {"MSTREAM_LOG": "error"}, "debug"),
        (None, {"MSTREAM_LOG": "warn", "RUST_LOG": "debug"}, "warn"),
        (None, {"RUST_LOG": "debug"}, "debug"),
        (None, {"RUST_LOG": "error,mstream=debug,hyper=warn"}, "debug"),
        (None, {"RUST_LOG": "mstream::api=trace"}, "trace"),
        (None, {"RUST_LOG": "hyper=debug"}, "info"),
        (None, {"RUST_LOG": "nonsense"}, "info"),
    ],
)
def test_the_level_is_found(option: str | None, environ: dict[str, str], level: str) -> None:
    assert chosen_level(option, environ) == level


@pytest.mark.parametrize(("option", "environ"), [("loud", {}), (None, {"MSTREAM_LOG": "loud"})])
def test_what_is_no_level_is_refused(option: str | None, environ: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="loud"):
        chosen_level(option, environ)


def test_a_format_that_is_none_is_refused() -> None:
    assert chosen_format({"MSTREAM_LOG_FORMAT": "JSON"}) is LogFormat.JSON
    with pytest.raises(UsageError, match="xml"):
        chosen_format({"MSTREAM_LOG_FORMAT": "xml"})

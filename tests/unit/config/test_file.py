"""Every kind of fault is found, on its line, with what would be right; all of a file at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from mstream.config.file import load
from mstream.config.problems import Severity
from mstream.foundation.secrets import Secret
from mstream.providers import CATALOG
from mstream.providers.sql.config import SqlConfig
from tests.unit.config.loading import SERVICES, VALID, config, loaded, places

CONNECTOR = """\
[[connectors]]
name = "one"
source = { service_name = "files", resource = "in.jsonl" }
sinks = [{ service_name = "db", resource = "t" }]
"""


def test_a_file_with_nothing_wrong_has_no_problems(tmp_path: Path) -> None:
    result = loaded(tmp_path, VALID)

    assert result.problems == []
    assert result.config is not None
    assert [each.name for each in result.config.services] == ["files", "db", "scripts", "_state"]
    assert [each.name for each in result.config.connectors] == ["orders"]


def test_an_empty_file_is_valid(tmp_path: Path) -> None:
    assert config(tmp_path, "").services == ()


def test_the_state_file_is_a_service_of_its_own(tmp_path: Path) -> None:
    state = config(tmp_path, '[system]\nstate = "/var/lib/mstream.db"\n').service("_state")

    assert isinstance(state, SqlConfig)
    assert state.url == Secret("sqlite:////var/lib/mstream.db")


#: What is written over what of a valid file, and the line, path and code of what is then wrong.
FAULTS = {
    "a misspelt table": ("[system]", "[systemm]", (1, "systemm", "unknown_key")),
    "a misspelt key of a store": (
        'state = "./state.db"',
        'state = "./state.db"\ncheckpoints = { resourze = "x" }',
        (3, "system.checkpoints.resourze", "unknown_key"),
    ),
    "a misspelt key of a service": ('path = "."', 'path = "."\npth = 1', (8, "services[0].pth", "unknown_key")),
    "a misspelt key of a connector": (
        'name = "orders"',
        'name = "orders"\nenabld = true',
        (22, "connectors[0].enabld", "unknown_key"),
    ),
    "a misspelt option of a role": (
        'resource = "orders" }',
        'resource = "orders", write_mod = "upsert" }',
        (24, "connectors[0].sinks[0].write_mod", "unknown_key"),
    ),
    "a missing key of a service": ('path = "."', "", (4, "services[0].path", "missing_key")),
    "no provider": ('provider = "file"', "", (4, "services[0].provider", "missing_key")),
    "an unknown provider": ('provider = "file"', 'provider = "fil"', (5, "services[0].provider", "unknown_provider")),
    "a number for a text": ('path = "."', "path = 5", (7, "services[0].path", "wrong_type")),
    "a text for a number": (
        'name = "orders"',
        'name = "orders"\nmax_in_flight = "4"',
        (22, "connectors[0].max_in_flight", "wrong_type"),
    ),
    "a number for a switch": (
        'name = "orders"',
        'name = "orders"\nenabled = 1',
        (22, "connectors[0].enabled", "wrong_type"),
    ),
    "a date for a text": ('path = "."', "path = 2024-01-01", (7, "services[0].path", "wrong_type")),
    "a number beyond 64 bits": (
        'name = "orders"',
        'name = "orders"\nmax_in_flight = 99999999999999999999',
        (22, "connectors[0].max_in_flight", "wrong_type"),
    ),
    "a table for a list": (
        'sinks = [{ service_name = "db", resource = "orders" }]',
        'sinks = { service_name = "db", resource = "orders" }',
        (24, "connectors[0].sinks", "wrong_type"),
    ),
    "a batch of nothing": (
        'name = "orders"',
        'name = "orders"\nbatch = { kind = "count", size = 0 }',
        (22, "connectors[0].batch.size", "bad_value"),
    ),
    "a word that is no choice": (
        'name = "orders"',
        'name = "orders"\non_error = "skp"',
        (22, "connectors[0].on_error", "bad_value"),
    ),
    "an option with a bad value": (
        'resource = "in.jsonl"',
        'resource = "in.jsonl", start = "beginng"',
        (22, "connectors[0].source.start", "bad_value"),
    ),
    "options that do not fit together": (
        'resource = "orders" }',
        'resource = "orders", write_mode = "upsert", key_columns = [] }',
        (24, "connectors[0].sinks[0].key_columns", "bad_value"),
    ),
    "a file outside of its folder": (
        'resource = "in.jsonl"',
        'resource = "../in.jsonl"',
        (22, "connectors[0].source.resource", "bad_value"),
    ),
    "an empty name": ('name = "orders"', 'name = ""', (21, "connectors[0].name", "empty_name")),
    "a blank name": ('name = "orders"', 'name = " "', (21, "connectors[0].name", "empty_name")),
    "two services of one name": ('name = "scripts"', 'name = "files"', (16, "services[2].name", "duplicate_name")),
    "a reserved name": ('name = "files"', 'name = "_state"', (6, "services[0].name", "reserved_name")),
    "a service that is not there": (
        'service_name = "db"',
        'service_name = "dv"',
        (24, "connectors[0].sinks[0].service_name", "unknown_reference"),
    ),
    "the hidden service": (
        'service_name = "db"',
        'service_name = "_state"',
        (24, "connectors[0].sinks[0].service_name", "unknown_reference"),
    ),
    "a schema that is not there": (
        'resource = "orders" }',
        'resource = "orders", schema_id = "order" }',
        (24, "connectors[0].sinks[0].schema_id", "unknown_reference"),
    ),
    "no sinks": (
        'sinks = [{ service_name = "db", resource = "orders" }]',
        "sinks = []",
        (24, "connectors[0].sinks", "no_sinks"),
    ),
    "sinks left out": (
        'sinks = [{ service_name = "db", resource = "orders" }]',
        "",
        (20, "connectors[0].sinks", "no_sinks"),
    ),
    "a source that cannot be one": (
        'source = { service_name = "files"',
        'source = { service_name = "scripts"',
        (22, "connectors[0].source.service_name", "role_unavailable"),
    ),
    "a store that cannot be one": (
        'state = "./state.db"',
        'state = "./state.db"\naudit = { service_name = "files" }',
        (3, "system.audit.service_name", "role_unavailable"),
    ),
    "a store without a place": (
        'state = "./state.db"',
        'checkpoints = { service_name = "db" }',
        (2, "system.checkpoints.resource", "missing_key"),
    ),
    "delivery that the wiring cannot give": (
        'name = "orders"',
        'name = "orders"\ndelivery = "effectively_once"',
        (22, "connectors[0].delivery", "guarantee_unavailable"),
    ),
    "records given up without a place": (
        'state = "./state.db"\n',
        "\n[[connectors]]\n" + CONNECTOR.partition("\n")[2].replace("sinks", 'on_error = "dead_letter"\nsinks'),
        (6, "connectors[0].on_error", "no_dead_letters"),
    ),
    "a state that is no file": ('state = "./state.db"', 'state = ":memory:"', (2, "system.state", "bad_value")),
    "a port that is none": (
        'state = "./state.db"',
        'state = "./state.db"\napi = { port = 70000 }',
        (3, "system.api.port", "bad_value"),
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_on_its_line(name: str, tmp_path: Path) -> None:
    before, after, expected = FAULTS[name]
    assert VALID.count(before) >= 1

    result = loaded(tmp_path, VALID.replace(before, after, 1))

    assert result.config is None
    assert expected in places([each for each in result.problems if each.severity is Severity.ERROR])


def test_all_faults_of_a_file_are_found_at_once_in_the_order_of_its_lines(tmp_path: Path) -> None:
    text = SERVICES + (
        "[[connectors]]\n"
        'name = ""\n'
        "sourze = 1\n"
        'batch = { kind = "count", size = 0 }\n'
        'source = { service_name = "file", resource = "in", strt = 1 }\n'
        'middlewares = [{ service_name = "files", resource = "x", output_encodng = "json" }]\n'
        "sinks = []\n"
        "\n"
        "[[connectors]]\n"
        'name = "two"\n'
        'enabled = "yes"\n'
        'source = { service_name = "files", resource = "in", strt = 1 }\n'
        "sinks = [\n"
        '    { service_name = "db", resource = "t" },\n'
        '    { service_name = "dbb", resource = "t", schema_id = "s" },\n'
        "]\n"
    )
    result = loaded(tmp_path, text)
    errors = [each for each in result.problems if each.severity is Severity.ERROR]

    assert places(errors) == [
        (17, "connectors[0].name", "empty_name"),
        (18, "connectors[0].sourze", "unknown_key"),
        (19, "connectors[0].batch.size", "bad_value"),
        (20, "connectors[0].source.service_name", "unknown_reference"),
        (21, "connectors[0].middlewares[0].output_encodng", "unknown_key"),
        (21, "connectors[0].middlewares[0].service_name", "role_unavailable"),
        (22, "connectors[0].sinks", "no_sinks"),
        (26, "connectors[1].enabled", "wrong_type"),
        (27, "connectors[1].source.strt", "unknown_key"),
        (30, "connectors[1].sinks[1].schema_id", "unknown_reference"),
        (30, "connectors[1].sinks[1].service_name", "unknown_reference"),
    ]


def test_a_near_miss_is_recognised(tmp_path: Path) -> None:
    text = VALID.replace('"files", resource', '"file", resource').replace("[system]", "[systemm]")
    advice = {each.path: each.suggestion for each in loaded(tmp_path, text).problems}

    assert advice["systemm"] == "did you mean 'system'?"
    assert advice["connectors[0].source.service_name"] == "did you mean 'files'?"


def test_a_misspelt_option_is_compared_with_those_of_its_provider(tmp_path: Path) -> None:
    text = VALID.replace('resource = "orders" }', 'resource = "orders", key_colums = ["id"] }')
    advice = {each.path: each.suggestion for each in loaded(tmp_path, text).problems}

    assert advice["connectors[0].sinks[0].key_colums"] == "did you mean 'key_columns'?"


def test_what_is_no_toml_is_one_problem_with_its_line(tmp_path: Path) -> None:
    result = loaded(tmp_path, "[system]\nstate = \n")

    assert result.config is None
    assert places(result.problems) == [(2, "", "syntax")]


def test_a_string_that_never_ends_is_one_problem(tmp_path: Path) -> None:
    assert places(loaded(tmp_path, 'a = """\nb\n').problems) == [(3, "", "syntax")]


def test_deep_nesting_is_a_problem_and_no_crash(tmp_path: Path) -> None:
    result = loaded(tmp_path, f"a = {'[' * 5000}{']' * 5000}\n")

    assert result.config is None
    assert len(result.problems) == 1


def test_a_file_that_is_not_there_is_one_problem(tmp_path: Path) -> None:
    result = load(tmp_path / "none.toml", CATALOG, {})

    assert result.config is None
    assert places(result.problems) == [(None, "", "unreadable")]


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert places(load(tmp_path, CATALOG, {}).problems) == [(None, "", "unreadable")]


def test_a_file_that_is_not_utf8_is_one_problem(tmp_path: Path) -> None:
    path = tmp_path / "latin.toml"
    path.write_bytes(b"a = '\xe9'\n")

    assert places(load(path, CATALOG, {}).problems) == [(None, "", "unreadable")]


def test_a_restart_that_begins_anew_is_a_warning(tmp_path: Path) -> None:
    result = loaded(tmp_path, SERVICES + CONNECTOR)

    assert result.config is not None
    assert places(result.problems) == [(16, "connectors[0]", "no_checkpoints")]


def test_checkpoints_switched_off_are_no_warning(tmp_path: Path) -> None:
    assert loaded(tmp_path, SERVICES + CONNECTOR + "checkpoint = { enabled = false }\n").problems == []


@pytest.mark.parametrize(("members", "found"), [("1", []), ("2", ["one_member"]), ("1024", ["one_member"])])
def test_more_members_than_can_be_had_are_a_warning(tmp_path: Path, members: str, found: list[str]) -> None:
    text = SERVICES + CONNECTOR + f"checkpoint = {{ enabled = false }}\nparallelism = {members}\n"

    result = loaded(tmp_path, text)

    assert result.config is not None
    assert [each.code for each in result.problems] == found
    assert all("provider 'file'" in each.message for each in result.problems)


@pytest.mark.parametrize(("member", "found"), [("true", []), ("false", ["one_member"])])
def test_a_member_of_a_group_can_have_as_many_runs_as_are_asked_for(
    tmp_path: Path, member: str, found: list[str]
) -> None:
    text = """
[[services]]
provider = "memory"
name = "queues"

[[connectors]]
name = "copy"
checkpoint = { enabled = false }
parallelism = 64
source = { service_name = "queues", resource = "in", member = MEMBER }
sinks = [{ service_name = "queues", resource = "out" }]
"""

    result = loaded(tmp_path, text.replace("MEMBER", member))

    assert [each.code for each in result.problems] == found


def test_a_number_of_members_that_cannot_be_is_an_error_alone(tmp_path: Path) -> None:
    text = SERVICES + CONNECTOR + "checkpoint = { enabled = false }\nparallelism = true\n"

    assert [each.code for each in loaded(tmp_path, text).problems] == ["wrong_type"]


@pytest.mark.parametrize(
    ("source", "sink", "letters", "found"),
    [
        ("orders", "copies", "dead", []),
        ("orders", "orders", "dead", ["sinks[0]"]),
        ("returns,orders", "orders", "dead", ["sinks[0]"]),
        ("^orders.*", "orders-copy", "orders-dead", ["sinks[0]", "dead_letters"]),
        ("^orders.*", "my-orders", "dead", []),
        ("^orders$", "orders-copy", "dead", []),
    ],
)
def test_a_job_that_reads_what_it_writes_is_warned_of(
    tmp_path: Path, source: str, sink: str, letters: str, found: list[str]
) -> None:
    text = f"""
[[services]]
provider = "kafka"
name = "bus"
"bootstrap.servers" = "host:9092"

[[services]]
provider = "kafka"
name = "other"
"bootstrap.servers" = "other:9092"

[[connectors]]
name = "copy"
checkpoint = {{ enabled = false }}
on_error = "dead_letter"
source = {{ service_name = "bus", resource = "{source}", input_encoding = "json" }}
sinks = [{{ service_name = "bus", resource = "{sink}" }}, {{ service_name = "other", resource = "orders" }}]
dead_letters = {{ service_name = "bus", resource = "{letters}" }}
"""

    result = loaded(tmp_path, text)

    assert result.config is not None
    paths = [f"connectors[0].{each}.resource" for each in found]
    assert [(each.code, each.path) for each in result.problems] == [("feeds_itself", each) for each in paths]


def test_a_file_that_a_job_reads_and_writes_is_warned_of(tmp_path: Path) -> None:
    text = SERVICES + CONNECTOR.replace(
        'service_name = "db", resource = "t"', 'service_name = "files", resource = "NAME"'
    )
    text += "checkpoint = { enabled = false }\n"

    assert [each.code for each in loaded(tmp_path, text.replace("NAME", "in.jsonl")).problems] == ["feeds_itself"]
    assert loaded(tmp_path, text.replace("NAME", "out.jsonl")).problems == []


def test_a_variable_that_is_not_set_is_a_warning(tmp_path: Path) -> None:
    text = VALID.replace('"sqlite:///./data.db"', '"env:DATABASE_URL"')

    assert places(loaded(tmp_path, text).problems) == [(12, "services[1].url", "unset_reference")]
    assert loaded(tmp_path, text, {"DATABASE_URL": "sqlite:///x.db"}).problems == []


def test_references_stay_references(tmp_path: Path) -> None:
    database = config(tmp_path, VALID.replace('"sqlite:///./data.db"', '"file:/run/secrets/url"')).service("db")

    assert isinstance(database, SqlConfig)
    assert database.url.reveal() == "file:/run/secrets/url"


def test_a_source_that_must_say_how_records_arrive(tmp_path: Path) -> None:
    text = (
        SERVICES
        + '[[services]]\nprovider = "kafka"\nname = "bus"\n'
        + CONNECTOR.replace('service_name = "files"', 'service_name = "bus"')
    )
    errors = [each for each in loaded(tmp_path, text).problems if each.severity is Severity.ERROR]

    assert places(errors) == [(21, "connectors[0].source.input_encoding", "missing_key")]


def test_records_cannot_arrive_as_the_source_never_gives_them(tmp_path: Path) -> None:
    text = VALID.replace('resource = "in.jsonl"', 'resource = "in.jsonl", input_encoding = "avro"')

    assert (22, "connectors[0].source.input_encoding", "bad_value") in places(loaded(tmp_path, text).problems)


def test_a_problem_is_plain_data(tmp_path: Path) -> None:
    result = loaded(tmp_path, VALID.replace('path = "."', 'path = "."\npth = 1'))

    assert result.problems[0].as_document() == {
        "file": str(tmp_path / "mstream-config.toml"),
        "line": 8,
        "path": "services[0].pth",
        "severity": "error",
        "code": "unknown_key",
        "message": "unknown key 'pth'",
        "suggestion": "did you mean 'path'?",
    }


def test_scripts_that_are_switched_off_are_a_warning(tmp_path: Path) -> None:
    result = loaded(tmp_path, VALID.replace("[system]", "[system]\nallow_python_scripts = false"))

    assert result.config is not None
    assert places(result.problems) == [(16, "services[2].provider", "provider_unavailable")]
    assert "switched off" in result.problems[0].message

"""What a script makes of a batch."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from mstream.domain.batch import Batch, Operation
from mstream.errors import ScriptError, ScriptInvalid
from mstream.ports.roles import Middleware, Transformed

OpenScript = Callable[..., Awaitable[Middleware]]

SECRET = "s3cr3t-c0ntent"

#: The same work, per record and per batch.
PER_RECORD = """
def transform(data, attributes):
    what = data.get("what")
    if what == "drop":
        return None
    if what == "many":
        return [{"n": data["n"], "part": 1}, {"n": data["n"], "part": 2}]
    if what == "none of them":
        return []
    if what == "attributes":
        return data, {"tenant": "a", "count": 5, "half": 0.5, "yes": True}
    if what == "no attributes":
        return data, None
    if what == "many with attributes":
        return [(data, {"part": "1"}), {"n": data["n"]}, None]
    if what == "raise":
        data["touched"] = True
        raise ValueError(f"bad {data['email']}")
    if what == "tuple of three":
        return data, 1, 2
    data["seen"] = True
    return data
"""
PER_BATCH = PER_RECORD + "\ndef transform_batch(records):\n    return [transform(each, {}) for each in records]\n"


def batch_of(*marks: str | None) -> Batch:
    """Records numbered from 0, with every column."""
    count = len(marks)
    return Batch(
        documents=[{"n": n, "what": what, "email": SECRET} for n, what in enumerate(marks)],
        payloads=[
            b'{"n":%d,"what":"%s","email":"%s"}' % (n, (w or "").encode(), SECRET.encode()) for n, w in enumerate(marks)
        ],
        keys=[b"%d" % n for n in range(count)],
        headers=[{"h": str(n)} for n in range(count)],
        operations=[Operation.UPDATE if n % 2 else Operation.INSERT for n in range(count)],
        times=list(range(count)),
        lanes=[f"lane{n % 2}" for n in range(count)],
        marks=list(range(count)),
        positions={"lane0": "p0", "lane1": "p1"},
    )


def numbers(transformed: Transformed) -> list[Any]:
    return [each["n"] for each in transformed.batch.documents or []]


def check_columns(transformed: Transformed, count: int) -> None:
    """Every column follows the input that a record came from."""
    after = transformed.batch
    origins = range(count) if transformed.origins is None else transformed.origins
    assert after.payloads is None
    assert after.documents is not None
    assert len(after.documents) == len(origins)
    assert after.keys == [b"%d" % n for n in origins]
    assert after.operations == [Operation.UPDATE if n % 2 else Operation.INSERT for n in origins]
    assert after.times == list(origins)
    assert after.lanes == [f"lane{n % 2}" for n in origins]
    assert after.marks == list(origins)
    assert after.positions == {"lane0": "p0", "lane1": "p1"}


@pytest.fixture(params=[PER_RECORD, PER_BATCH], ids=["per record", "per batch"])
def text(request: pytest.FixtureRequest) -> str:
    script: str = request.param
    return script


async def test_changed_records_stay_in_their_place(opened: OpenScript, text: str) -> None:
    middleware = await opened(text)

    transformed = await middleware.apply(batch_of(None, None, None))

    assert transformed.origins is None
    assert not transformed.failures
    assert numbers(transformed) == [0, 1, 2]
    assert all(each["seen"] for each in transformed.batch.documents or [])
    assert transformed.batch.headers == [{"h": "0"}, {"h": "1"}, {"h": "2"}]
    check_columns(transformed, 3)


@pytest.mark.parametrize(
    ("marks", "origins"),
    [
        (["drop"], []),
        (["drop", None, "drop"], [1]),
        (["many", None], [0, 0, 1]),
        (["none of them", "many with attributes", "drop", None], [1, 1, 3]),
        ([None, "raise", None], [0, 2]),
        (["raise", "tuple of three", "many"], [2, 2]),
    ],
)
async def test_every_output_knows_its_input(
    opened: OpenScript, text: str, marks: Sequence[str | None], origins: list[int]
) -> None:
    middleware = await opened(text)

    transformed = await middleware.apply(batch_of(*marks))

    assert transformed.origins == origins
    assert numbers(transformed) == origins
    check_columns(transformed, len(marks))


async def test_attributes_that_are_given_back_replace_those_of_the_record(opened: OpenScript, text: str) -> None:
    middleware = await opened(text)

    transformed = await middleware.apply(batch_of(None, "attributes", "no attributes", "many with attributes"))

    assert transformed.batch.headers == [
        {"h": "0"},
        {"tenant": "a", "count": "5", "half": "0.5", "yes": "true"},
        {},
        {"part": "1"},
        {"h": "3"},
    ]


async def test_a_script_reads_attributes_and_cannot_change_them_in_place(opened: OpenScript) -> None:
    per_record = """
        def transform(data, attributes):
            data["h"] = attributes["h"]
            attributes["h"] = "changed"
            return data
        """
    per_batch = """
        def transform_batch(records, attributes):
            for data, each in zip(records, attributes):
                data["h"] = each["h"]
                each["h"] = "changed"
            return records
        """
    for script in (per_record, per_batch):
        transformed = await (await opened(script)).apply(batch_of(None, None))

        assert [each["h"] for each in transformed.batch.documents or []] == ["0", "1"]
        assert transformed.batch.headers == [{"h": "0"}, {"h": "1"}]


async def test_the_culprits_alone_are_refused_and_the_others_see_untouched_documents(
    opened: OpenScript, text: str
) -> None:
    for batch in (batch_of(None, "raise", None, "raise"), _without_payloads(batch_of(None, "raise", None, "raise"))):
        transformed = await (await opened(text)).apply(batch)

        assert [each.index for each in transformed.failures] == [1, 3]
        assert transformed.origins == [0, 2]
        assert all("touched" not in each for each in transformed.batch.documents or [])


def _without_payloads(batch: Batch) -> Batch:
    return Batch(documents=batch.documents)


async def test_a_half_done_batch_is_not_done_twice(opened: OpenScript) -> None:
    """The records before the culprit were changed already; they are transformed anew, not again."""
    script = """
        def transform_batch(records):
            for data in records:
                data["n"] = data["n"] + 100
                if data["what"] == "raise":
                    raise ValueError
            return records
        """
    for batch in (batch_of(None, None, "raise"), _without_payloads(batch_of(None, None, "raise"))):
        transformed = await (await opened(script)).apply(batch)

        assert numbers(transformed) == [100, 101]


async def test_an_error_names_script_line_and_record_and_not_its_content(opened: OpenScript, text: str) -> None:
    transformed = await (await opened(text)).apply(batch_of(None, None, "raise"))

    error = transformed.failures[0].error
    assert isinstance(error, ScriptError)
    line = 1 + next(n for n, each in enumerate(text.split("\n")) if "raise ValueError" in each)
    assert f"script 'script.py', line {line}: ValueError" in str(error)
    assert "record 3 of 3" in str(error)
    assert SECRET not in str(error)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return data['amount']", "KeyError: 'amount'"),
        ("return data['email'].amount", "AttributeError: 'str' object has no attribute 'amount'"),
        ("return data['n'] + data['email']", "TypeError: unsupported operand"),
        ("raise ValueError('amount is missing')", "ValueError: amount is missing"),
        ("return int(data['email'])", "ValueError (record"),
        ("return {}[data['email']]", "KeyError (record"),
        ("raise TypeError(data['email'])", "TypeError (record"),
        ("assert data['n'] == 5, data['email']", "AssertionError (record"),
        ("import json; return json.loads(data['email'])", "JSONDecodeError (record"),
        ("exit(data['email'])", "exit()"),
        ("return transform(data, attributes)", "RecursionError: maximum recursion depth"),
    ],
)
async def test_an_error_says_what_it_can_without_the_content(opened: OpenScript, body: str, said: str) -> None:
    middleware = await opened(f"def transform(data, attributes):\n    {body}\n")

    transformed = await middleware.apply(batch_of(None))

    text = str(transformed.failures[0].error)
    assert "line 2: " in text
    assert said in text
    assert SECRET not in text


@pytest.mark.parametrize(
    "result",
    ["(data, 5)", "(data, {1: 'x'})", "(data, {'x': []})", "(None, {})", "(data,)", "[data, (data, 1, 2)]", "()"],
)
async def test_a_result_that_is_none_is_that_records_failure(opened: OpenScript, result: str) -> None:
    scripts = (
        f"def transform(data):\n    return {result} if data['what'] else data\n",
        f"def transform_batch(records):\n    return [{result} if data['what'] else data for data in records]\n",
    )
    for script in scripts:
        transformed = await (await opened(script)).apply(batch_of(None, "wrong", None))

        assert [each.index for each in transformed.failures] == [1]
        assert isinstance(transformed.failures[0].error, ScriptError)
        assert "gave back" in str(transformed.failures[0].error)
        assert transformed.origins == [0, 2]


@pytest.mark.parametrize("result", ["records[1:]", "None", "tuple(records)", "records + records", "{}", "[]"])
async def test_a_batch_script_that_answers_for_other_records_is_invalid(opened: OpenScript, result: str) -> None:
    middleware = await opened(f"def transform_batch(records):\n    return {result}\n")

    with pytest.raises(ScriptInvalid, match="one entry for each"):
        await middleware.apply(batch_of(None, None))


async def test_tombstones_pass_a_script_by(opened: OpenScript) -> None:
    scripts = (
        "def transform(data):\n    data['seen'] = 1\n    return data\n",
        "def transform_batch(records):\n    return [{**each, 'seen': 1} for each in records]\n",
        "def transform_batch(records):\n    return [{'bad': 1 / (each['n'] - 2), 'seen': 1} for each in records]\n",
    )
    for script in scripts:
        batch = Batch(documents=[None, {"n": 1}, None, {"n": 3}], keys=[b"0", b"1", b"2", b"3"])

        transformed = await (await opened(script)).apply(batch)

        documents = transformed.batch.documents or []
        assert [each if each is None else each["seen"] for each in documents] == [None, 1, None, 1]
        assert transformed.batch.keys == [b"0", b"1", b"2", b"3"]
        assert transformed.origins is None


async def test_a_batch_of_tombstones_and_an_empty_one_pass(opened: OpenScript) -> None:
    middleware = await opened("def transform_batch(records):\n    return [1 / 0]\n")

    for batch in (Batch(documents=[None, None]), Batch(documents=[], positions={"a": 1})):
        transformed = await middleware.apply(batch)

        assert transformed.batch.documents == batch.documents
        assert transformed.batch.positions == batch.positions
        assert not transformed.failures


async def test_documents_of_any_kind_pass(opened: OpenScript) -> None:
    values: list[Any] = ["text", 5, 1.5, True, {"a": 1}]
    for script in ("def transform(data):\n    return data\n", "def transform_batch(records):\n    return records\n"):
        transformed = await (await opened(script)).apply(Batch(documents=list(values)))

        assert transformed.batch.documents == values
        assert transformed.origins is None


async def test_the_batch_function_goes_before_the_other(opened: OpenScript) -> None:
    script = (
        "def transform(data): return {'by': 1}\ndef transform_batch(records): return [{'by': 2} for _ in records]\n"
    )

    transformed = await (await opened(script)).apply(batch_of(None))

    assert transformed.batch.documents == [{"by": 2}]


async def test_records_that_cannot_be_copied_fail_together(opened: OpenScript) -> None:
    """A step before has put in what nobody can copy: then the culprit cannot be found."""
    middleware = await opened("def transform_batch(records):\n    return [each['missing'] for each in records]\n")

    transformed = await middleware.apply(Batch(documents=[{"f": lambda: 1}, {"f": 2}]))

    assert [each.index for each in transformed.failures] == [0, 1]
    assert transformed.batch.documents == []

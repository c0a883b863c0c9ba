"""The reference page on commands, out of the commands themselves; and whether a command in a text exists."""

from __future__ import annotations

import enum
import functools
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from typer.main import get_command

from mstream.cli import application

_INTRODUCTION: Final = """\
Every command takes the configuration file as `--config FILE`, and those with `[FILE]` also as an argument.
Without either it is `./mstream-config.toml`.
`mstream` without a command, and `mstream` with options alone, mean `mstream run`.
The [exit codes](exit-codes.md) are the same for all.
The answer goes to standard output; logs, questions and warnings go to standard error.

Some change what is stored: `apply`, `checkpoints reset`, `key rotate` and `key retire`.
Where the program runs on this machine they ask it over its API; where none runs they take its place for that time.
Each says in the audit trail who it was: the user of the system.

"""

#: What the help has no room for.
_NOTES: Final[Mapping[str, str]] = {
    "run": (
        "SIGINT and SIGTERM drain: nothing more is read, what was read is delivered and saved.\n"
        "A second signal cuts that short.\n"
        "SIGHUP has the keys of stored services read again.\n\n"
        "`--until-idle` answers 0, or 1 when a job has failed.\n"
        "Of `--log-level`, `MSTREAM_LOG` and `RUST_LOG` in the environment the first holds, else `info`.\n\n"
        "On a terminal there is a line per job with records, rate, lag and errors; elsewhere there are "
        "[log events](events.md).\n"
        "While it runs it answers [HTTP](api.md).\n"
    ),
    "check": (
        "Every problem is found in one pass; warnings are allowed.\n"
        '`--json` prints `{"valid": false, "problems": [{"file", "line", "path", "severity", "code", "message", '
        '"suggestion"}]}`.\n'
    ),
    "init": "A file that is there already stays as it is.\n",
    "plan": "See [what a start does](startup.md).\n",
    "apply": (
        "Without `--yes` and `--plan` it shows the plan and asks; where nobody can be asked it refuses.\n"
        "With `--plan HASH` it does exactly what was shown, or refuses with `plan_stale`.\n"
        "See [what a start does](startup.md).\n"
    ),
    "export": "See [how to move to another store](../howto/move-stores.md).\n",
    "import": (
        "It is refused with `store_owned` while a program owns the stores.\n"
        "What is there already and the same is left alone; what differs is refused, unless `--overwrite`.\n"
        "Cut off anywhere, it can be done again.\n"
    ),
    "key": "See [how to rotate keys](../howto/rotate-keys.md).\n",
    "services": (
        "A service that the file does not have is looked for among those that its store keeps, whether the program "
        "runs or not; that takes the key of stored services.\n"
    ),
    "services test": (
        "The answer says whose definition was tested: *as the file has it*, *as the store has it* "
        '(`--json`: `"definition": "file"` or `"store"`).\n'
        "No value of the definition shows.\n"
    ),
    "services resources": "Of MongoDB: collections, time series and views; those named `system.…` are left out.\n",
    "services schema": (
        "Documents whose types differ somewhere are told apart, the most frequent first.\n"
        '`--json` prints `[{"share_percent", "sample_count", "schema"}]`, where `schema` is a JSON Schema.\n'
        "No value shows, unless `--values` asks for it: then `enum` has texts that came at least twice, `minimum` and"
        " `maximum` numbers, but never of fields whose names sound personal.\n"
    ),
    "checkpoints": "See [the tutorial](../tutorial/stop-crash-restart.md).\n",
}

_SPAN: Final = re.compile(r"`(mstream(?: [^`]*)?)`")
_ASSIGNMENT: Final = re.compile(r"^[A-Za-z_]\w*=")
_SEPARATORS: Final = frozenset({"|", "||", "&&", ";", "&", "(", ")"})


def page() -> str:
    """The page below its title."""
    root = get_command(application())
    parts = [_INTRODUCTION]
    for name, command in root.commands.items():  # type: ignore[attr-defined]  # a group, as it has commands
        parts += list(_section(name, command))
    parts += ["## `mstream --version`\n\nPrints the version.\n"]
    return "".join(parts)


def _section(name: str, command: Any, *, level: str = "##") -> Iterator[str]:  # noqa: ANN401 - typer brings its own click
    inner: Mapping[str, Any] = getattr(command, "commands", {})
    arguments = [_argument(each) for each in command.params if each.param_type_name == "argument"]
    title = " ".join(["mstream", name, *arguments, *(["…"] if inner else [])])
    yield f"{level} `{title}`\n\n"
    yield f"{' '.join((command.help or '').split())}\n\n"
    options = [each for each in command.params if each.param_type_name == "option" and each.name != "help"]
    if options:
        yield "| option | |\n|---|---|\n"
        for each in options:
            yield f"| {_option(each)} | {_explained(each)} |\n"
        yield "\n"
    if note := _NOTES.get(name):
        yield f"{note}\n"
    for below, each in inner.items():
        yield from _section(f"{name} {below}", each, level="###")


def _argument(parameter: Any) -> str:  # noqa: ANN401
    name = str(parameter.metavar or parameter.name.upper()).strip("[]")
    return name if parameter.required else f"[{name}]"


def _option(parameter: Any) -> str:  # noqa: ANN401
    shown = ", ".join(f"`{each}`" for each in sorted(parameter.opts, key=len, reverse=True))
    if parameter.is_flag:
        return shown
    kind = type(parameter.default)
    metavar = " or ".join(kind) if issubclass(kind, enum.StrEnum) else parameter.metavar
    return f"{shown} {metavar or parameter.name.upper()}"


def _explained(parameter: Any) -> str:  # noqa: ANN401
    text = (parameter.help or "").replace("|", "\\|")
    default = parameter.default
    return f"{text} Default: {default}." if default else text


def unknown_commands(text: str, shell_blocks: Sequence[str]) -> Iterator[str]:
    """Commands of mstream, in blocks and in spans of a page, that it would not take; with why."""
    for block in shell_blocks:
        for line in block.replace("\\\n", " ").splitlines():
            for words in _commands_in(line):
                if problem := refusal(words[1:]):
                    yield f"{shlex.join(words)!r}: {problem}"
    for span in _SPAN.findall(text):
        if not any(each in span for each in "…[<{(|"):
            words = span.split()
            if problem := refusal(words[1:]):
                yield f"{span!r}: {problem}"


def _commands_in(line: str) -> Iterator[list[str]]:
    """Each call of mstream in a line of shell."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:
        # A quotation over several lines is no command of ours.
        return
    for call in _split(words):
        while call and _ASSIGNMENT.match(call[0]):
            call.pop(0)
        if call and call[0] == "mstream":
            yield call


def _split(words: Sequence[str]) -> Iterator[list[str]]:
    call: list[str] = []
    skipped = False
    for each in words:
        if each in _SEPARATORS:
            yield call
            call = []
        elif each in {">", ">>", "<", "2>", ">&"}:
            if call and call[-1] == "2":
                call.pop()
            skipped = True
        elif skipped:
            skipped = False
        else:
            call.append(each)
    yield call


@functools.cache
def _whole_command() -> Any:  # noqa: ANN401
    return get_command(application())


def refusal(words: Sequence[str]) -> str | None:
    """Why mstream would not take this command line; None: it would."""
    given = list(words)
    if given in (["--version"], ["--help"], []):
        return None
    if given[0].startswith("-"):
        given.insert(0, "run")
    command, path = _whole_command(), ["mstream"]
    while hasattr(command, "commands"):
        if not given or given == ["--help"]:
            return None
        name = given.pop(0)
        if name not in command.commands:
            return f"there is no command {' '.join([*path, name])!r}"
        command, path = command.commands[name], [*path, name]
    if not given or "--help" in given:
        # A command that is only named need not have its arguments.
        return None
    try:
        command.make_context(" ".join(path), given)
    except Exception as error:  # noqa: BLE001 - typer's own copy of click has classes of its own
        told = getattr(error, "format_message", error.__str__)
        return str(told())
    return None

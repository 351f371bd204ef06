"""Names stand in one module, and are those of the conventions."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.semconv import attributes
from opentelemetry.semconv.schemas import Schemas

import claude_grpc
from claude_grpc.telemetry import names

SOURCE = Path(claude_grpc.__file__).parent
MODULES = [
    path
    for path in sorted(SOURCE.rglob("*.py"))
    if not {"v1", "simulator"} & set(path.relative_to(SOURCE).parts) and path.name != "names.py"
]
NAME = re.compile(r"(?:gen_ai|rpc|http|server|url|error|service|anthropic|claude_grpc)(?:\.[a-z_]+)+")
# What takes the name of an attribute, an event or a metric in first place.
RECORDERS = {
    "add_event", "counter", "gauge", "histogram", "level", "create_counter", "create_histogram",
    "create_observable_counter", "create_observable_gauge", "create_observable_up_down_counter",
}  # fmt: skip

NEWER = {
    # The GenAI conventions left the main repository after 1.41.0, and with it the Python package. Their migration guide
    # gives these names.
    "gen_ai.client.inference.duration": "was gen_ai.client.operation.duration for model calls",
    "gen_ai.client.inference.time_per_output_chunk": "was gen_ai.client.operation.time_per_output_chunk",
    "gen_ai.client.inference.time_to_first_chunk": "was gen_ai.client.operation.time_to_first_chunk",
    "gen_ai.client.inference.usage.cache_read.input_tokens": "new, instead of gen_ai.client.token.usage",
    "gen_ai.client.inference.usage.cache_write.input_tokens": "new, instead of gen_ai.client.token.usage",
    "gen_ai.client.inference.usage.input_tokens": "new, instead of gen_ai.client.token.usage",
    "gen_ai.client.inference.usage.output_tokens": "new, instead of gen_ai.client.token.usage",
    "gen_ai.client.inference.usage.reasoning.output_tokens": "new, instead of gen_ai.client.token.usage",
    "gen_ai.request.reasoning.level": "new",
    "gen_ai.token.modality": "new, required with token counters",
    "gen_ai.usage.cache_write.input_tokens": "was gen_ai.usage.cache_creation.input_tokens",
}


def constants() -> dict[str, str]:
    return {name: value for name, value in vars(names).items() if name.isupper() and isinstance(value, str)}


def conventional() -> set[str]:
    """All names in the installed package of the semantic conventions."""
    found: set[str] = set()
    root = Path(attributes.__path__[0]).parent
    for path in (*root.rglob("*_attributes.py"), *root.rglob("*_metrics.py")):
        module = importlib.import_module(
            ".".join(("opentelemetry.semconv", *path.relative_to(root).with_suffix("").parts))
        )
        found |= {value for value in vars(module).values() if isinstance(value, str)}
    return found


def literals(tree: ast.AST) -> Iterator[ast.Constant]:
    documents = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents:
            yield node


def spelled_out(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The names that a module spells out itself, each with its line."""
    others = {
        id(node.args[0])
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "logging.getLogger" and node.args
    }
    for literal in literals(tree):
        # The names of loggers and of modules look alike.
        is_module = str(literal.value).startswith("claude_grpc.telemetry.")
        if NAME.fullmatch(str(literal.value)) and id(literal) not in others and not is_module:
            yield literal.lineno, str(literal.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            first = node.args[0]
            if node.func.attr in RECORDERS and isinstance(first, ast.Constant | ast.JoinedStr):
                yield node.lineno, ast.unparse(first)
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign) and any(map(is_spelled_out, parts(node))):
            yield node.lineno, ast.unparse(node)


def parts(node: ast.Assign | ast.AnnAssign | ast.AugAssign) -> Iterator[ast.AST]:
    """What is assigned to attributes, and how they are named."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    if any("attributes" in ast.unparse(target) for target in targets):
        yield from (each for part in (*targets, node.value) if part is not None for each in ast.walk(part))


def is_spelled_out(node: ast.AST) -> bool:
    """Whether a dictionary is made or filled under a name that is a literal."""
    keys = node.keys if isinstance(node, ast.Dict) else [node.slice] if isinstance(node, ast.Subscript) else []
    return any(isinstance(key, ast.Constant | ast.JoinedStr) for key in keys)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_other_module_spells_a_name_out(path: Path) -> None:
    assert list(spelled_out(ast.parse(path.read_text()))) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_only_one_room_knows_opentelemetry_and_its_exporters(path: Path) -> None:
    imported = re.findall(r"^\s*(?:from|import) (opentelemetry|prometheus_client)", path.read_text(), re.MULTILINE)
    assert not imported or path.parent.name == "sdk"


@pytest.mark.parametrize(
    "code",
    [
        'span.attributes["model"] = m',
        'span.attributes |= {"model": m}',
        'span.add_event("retried")',
        'meter.counter("calls", "Calls.", "{call}", read)',
        'meter.gauge(f"calls.{x}", "Calls.", "{call}", read)',
        'labels["rpc.method"] = method',
    ],
)
def test_a_name_spelled_out_is_found(code: str) -> None:
    assert list(spelled_out(ast.parse(code)))


def test_the_version_of_the_conventions_is_the_installed_packages() -> None:
    assert list(Schemas)[-1].value == names.SCHEMA_URL


def test_each_name_is_one_of_the_conventions_or_of_the_sdks_or_ours() -> None:
    own = {value for value in constants().values() if NAME.fullmatch(value)}
    foreign = {value for value in own if not value.startswith(("claude_grpc.", "anthropic."))}
    assert foreign - conventional() == set(NEWER)


def test_each_name_is_used() -> None:
    used = {
        node.attr
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
    }
    assert set(constants()) - used == set()


def test_no_name_is_given_twice() -> None:
    dotted = [value for value in constants().values() if NAME.fullmatch(value)]
    assert len(dotted) == len(set(dotted))


def test_the_version_is_told_to_who_deploys_it() -> None:
    readme = SOURCE.parents[1] / "deploy" / "README.md"
    assert f"semantic conventions {names.SCHEMA_URL.rpartition('/')[2]}" in readme.read_text()

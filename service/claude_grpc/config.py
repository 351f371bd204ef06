"""All settings, read once at start from the environment and from mounted secrets, and nowhere else.

The Claude API's own names are kept: ``ANTHROPIC_API_KEY``, ``ANTHROPIC_AUTH_TOKEN``, ``ANTHROPIC_BASE_URL``. All others
begin with ``CLAUDE_GRPC_``. A secret may also be a file in the folder ``CLAUDE_GRPC_SECRETS_DIR``, named after its
variable in lower case.
"""

from __future__ import annotations

import json
import os
import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    HttpUrl,
    SecretStr,
    StringConstraints,
    ValidationError,
    model_validator,
)

__all__ = ["ConfigurationError", "Settings", "describe_settings", "load_settings", "variable"]

_PREFIX = "CLAUDE_GRPC_"

_ADDRESS = re.compile(r"(\[[0-9a-fA-F:]+\]|[^:\s]+):\d{1,5}")


def _check_address(address: str) -> str:
    if not _ADDRESS.fullmatch(address):
        raise ValueError("must be HOST:PORT, such as 127.0.0.1:50051 or [::]:50051")
    return address


def _check_base_url(url: HttpUrl) -> HttpUrl:
    if not url.host or url.username or url.password or url.query or url.fragment:
        raise ValueError("must be http(s)://HOST[:PORT][/PATH], without credentials, query or fragment")
    return url


def _check_credential(credential: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[!-~]*", credential.get_secret_value()):
        raise ValueError("must be printable ASCII without spaces, for it goes into an HTTP header")
    return credential


def _read_json(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError("must be JSON") from None


Address = Annotated[str, AfterValidator(_check_address)]
Credential = Annotated[SecretStr, AfterValidator(_check_credential)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
ModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:@/-]{1,256}$")]


class ConfigurationError(Exception):
    """A setting is wrong; the text names it and says what would be right."""


class Settings(BaseModel):
    """The settings; each field's description is what ``--help`` shows."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    listen: Address = Field(
        "127.0.0.1:50051", description="HOST:PORT to serve on; port 0 takes a free one, [::]:50051 all addresses."
    )
    anthropic_api_key: Credential | None = Field(
        None,
        alias="ANTHROPIC_API_KEY",
        description="Key of the Claude API, sent as x-api-key.",
    )
    anthropic_auth_token: Credential | None = Field(
        None,
        alias="ANTHROPIC_AUTH_TOKEN",
        description="Token of the Claude API, sent as Authorization: Bearer; instead of a key.",
    )
    anthropic_base_url: Annotated[HttpUrl, AfterValidator(_check_base_url)] = Field(
        HttpUrl("https://api.anthropic.com"),
        alias="ANTHROPIC_BASE_URL",
        description="Where the Claude API is.",
    )
    anthropic_version: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}$")] = Field(
        "2026-10-21", description="The anthropic-version of requests that name none."
    )
    simulator: Literal["auto", "never", "always"] = Field(
        "auto",
        description="The embedded simulator instead of the Claude API: auto takes it when there is no key; with never "
        "the start fails then.",
    )
    engine: Literal["aiohttp", "httpx"] = Field(
        "aiohttp", description="What speaks HTTP to the Claude API: aiohttp, or httpx's own, which is slower."
    )
    max_connections: int = Field(1000, ge=1, description="Most connections to the Claude API.")
    connect_timeout: Seconds = Field(5.0, description="Seconds to connect to the Claude API.")
    read_timeout: Seconds = Field(600.0, description="Seconds that the Claude API may be silent.")
    write_timeout: Seconds = Field(60.0, description="Seconds that sending a piece of a request may take.")
    pool_timeout: Seconds = Field(60.0, description="Seconds to wait for a free connection.")
    max_retries: int = Field(2, ge=0, le=10, description="How often opening a call upstream is tried again.")
    max_retry_wait: Seconds = Field(
        60.0, description="Most seconds to wait when the Claude API says how long; beyond it the caller is told."
    )
    retry_budget: int = Field(
        100,
        ge=0,
        le=1000,
        description="Tokens of the retry budget: a failed attempt takes one, a successful one gives a tenth, and there "
        "are retries while half is left; 0 for no limit.",
    )
    breaker_failures: int = Field(
        10,
        ge=0,
        le=100,
        description="Failures of a model, among its last 100 attempts of half a minute and four fifths of them, after "
        "which calls for it are refused; 0 for never.",
    )
    breaker_pause: Seconds = Field(3.0, description="Seconds until one of them is let through again.")
    fallback_models: Annotated[dict[str, list[ModelName]], BeforeValidator(_read_json)] = Field(
        {},
        description='JSON: by model, or "*", those that are asked when it is overloaded or its calls are refused, '
        'such as {"claude-opus-5-5": ["claude-sonnet-5"]}; a request can say otherwise.',
    )
    default_deadline: Seconds = Field(3600.0, description="Seconds for a call whose caller sets no deadline.")
    deadline_margin: float = Field(
        0.25,
        ge=0,
        le=60,
        description="Seconds before a caller's deadline, at most a tenth of the time, when the gateway gives up and "
        "says why.",
    )
    max_request_bytes: int = Field(
        40 * 1024 * 1024,
        ge=1024,
        description="Most bytes of one gRPC request message; larger ones gRPC itself refuses.",
    )
    max_body_bytes: int = Field(
        32_000_000, ge=1024, description="Most bytes of a message's JSON body; the Claude API takes 32 MB."
    )
    max_batch_requests: int = Field(
        100_000, ge=1, description="Most requests in a batch; the Claude API takes 100,000."
    )
    max_batch_bytes: int = Field(
        256 * 1024 * 1024, ge=1024, description="Most bytes of a batch's JSON body; the Claude API takes 256 MB."
    )
    max_file_bytes: int = Field(
        500 * 1024 * 1024, ge=1024, description="Most bytes of an uploaded file; the Claude API takes 500 MB."
    )
    max_response_bytes: int = Field(
        256 * 1024 * 1024,
        ge=1024,
        description="Most bytes of an answer that is not streamed, and of one event or batch result.",
    )
    max_calls: int = Field(
        1000, ge=1, description="Most calls that run at once. The defaults of these limits suit 1 GiB of memory."
    )
    max_queued_calls: int = Field(
        100, ge=0, description="Most calls beyond that which wait for one to end; further ones are refused at once."
    )
    queue_timeout: Seconds = Field(2.0, description="Seconds that a call waits at most, then it is refused.")
    max_bytes_in_flight: int = Field(
        160 * 1024 * 1024,
        ge=1024,
        description="Most bytes of requests that upstream has not answered yet; at least max_request_bytes. They need "
        "two to three times as much memory.",
    )
    max_abandoned_calls: int = Field(
        100,
        ge=0,
        description="Most calls that go on without their caller, because they asked for it; others are cancelled.",
    )
    abandoned_timeout: Seconds = Field(600.0, description="Seconds that such a call may go on.")
    ping_interval: Seconds = Field(
        15.0, description="Seconds of silence after which a stream that has begun is sent a ping event."
    )
    keepalive_interval: Seconds = Field(
        60.0, description="Seconds after which a silent connection is asked whether its caller is still there."
    )
    keepalive_timeout: Seconds = Field(20.0, description="Seconds to wait for that answer, then it is closed.")
    max_connection_idle: Seconds = Field(
        600.0, description="Seconds without a call after which a connection is closed."
    )
    drain_delay: float = Field(
        0.0, ge=0, description="Seconds from SIGTERM, when health says NOT_SERVING, until new calls are refused."
    )
    drain_grace: float = Field(600.0, ge=0, description="Seconds that running calls may then take to end.")
    workers: int = Field(
        1,
        ge=1,
        le=256,
        description="Processes that share the port, best one a core. Each has its own connections, and limits are each "
        "one's. More than one need a key: the embedded simulator is one process's.",
    )
    reflection: bool = Field(True, description="Whether server reflection tells tools which services there are.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="json is one object a line; auto is text on a terminal and json elsewhere."
    )
    max_captured_bytes: int = Field(
        16 * 1024,
        ge=0,
        description="Most bytes of a prompt or an answer on a span, if "
        "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT puts them there; all OTEL_* settings are as standard.",
    )
    secrets_dir: Path | None = Field(None, description="Folder of mounted secrets, one file each.")

    @model_validator(mode="after")
    def _one_credential(self) -> Self:
        if self.anthropic_api_key and self.anthropic_auth_token:
            raise ValueError("ANTHROPIC_API_KEY and ANTHROPIC_AUTH_TOKEN are both set; set one of them")
        if self.simulator == "never" and not self.has_credential:
            raise ValueError(
                "there is no ANTHROPIC_API_KEY and no ANTHROPIC_AUTH_TOKEN, and the simulator is set to never"
            )
        if self.workers > 1 and self.simulates:
            raise ValueError("CLAUDE_GRPC_WORKERS: more than one need ANTHROPIC_API_KEY, not the embedded simulator")
        return self

    @model_validator(mode="after")
    def _room_for_one(self) -> Self:
        if self.max_bytes_in_flight < self.max_request_bytes:
            raise ValueError("max_bytes_in_flight is less than max_request_bytes; no such request could come in")
        return self

    @property
    def has_credential(self) -> bool:
        """Whether there is a key or a token for the Claude API."""
        return bool(self.anthropic_api_key or self.anthropic_auth_token)

    @property
    def local_target(self) -> str:
        """Where a process beside the gateway reaches it."""
        host, _, port = self.listen.rpartition(":")
        return f"127.0.0.1:{port}" if host in {"0.0.0.0", "[::]"} else self.listen

    @property
    def simulates(self) -> bool:
        """Whether the embedded simulator stands in for the Claude API."""
        return self.simulator == "always" or (self.simulator == "auto" and not self.has_credential)


def load_settings(**overrides: Any) -> Settings:
    """The settings of this process; ``overrides`` come from the command line.

    Raises:
        ConfigurationError: One is wrong.
    """
    known = {variable(name) for name in Settings.model_fields}
    for name in os.environ:
        # What Kubernetes adds for a Service of that name is none of ours.
        if name.startswith(_PREFIX) and name not in known and not re.search(r"_(HOST|PORT)(_|$)", name):
            raise ConfigurationError(f"{name}: there is no such setting; see claude-grpc serve --help")
    try:
        return Settings(**{**_secrets(os.environ), **_environment(os.environ), **overrides})
    except ValidationError as error:
        raise ConfigurationError("; ".join(_explain(dict(e)) for e in error.errors())) from None


def describe_settings() -> str:
    """Every setting with its default and what it does, for a terminal."""
    lines = ["settings, from the environment:"]
    for name, field in Settings.model_fields.items():
        default = f" Default: {field.default}." if field.default is not None else ""
        lines += [
            f"  {variable(name)}",
            *textwrap.wrap(f"{field.description}{default}", 90, initial_indent=" " * 6, subsequent_indent=" " * 6),
        ]
    return "\n".join(lines)


def variable(name: str) -> str:
    """The environment variable of a field."""
    own = name.upper()
    return own if Settings.model_fields[name].alias else _PREFIX + own


def _key(name: str) -> str:
    """What a field's value comes under."""
    return Settings.model_fields[name].alias or name


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    return {_key(name): environ[variable(name)] for name in Settings.model_fields if variable(name) in environ}


def _secrets(environ: Mapping[str, str]) -> dict[str, str]:
    path = environ.get(f"{_PREFIX}SECRETS_DIR")
    if not path:
        return {}
    folder = Path(path)
    if not folder.is_dir():
        raise ConfigurationError(f"{_PREFIX}SECRETS_DIR: there is no folder {path}")
    files = {_key(name): folder / variable(name).lower() for name in Settings.model_fields}
    return {key: file.read_text().strip() for key, file in files.items() if file.is_file()}


def _explain(error: Mapping[str, Any]) -> str:
    message = str(error["msg"]).removeprefix("Value error, ")
    if not error["loc"]:
        return message
    name = str(error["loc"][0])
    return f"{name if name.isupper() else variable(name)}: {message}"

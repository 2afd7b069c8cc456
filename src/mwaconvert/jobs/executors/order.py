"""What a job of a cluster is: an image, a command, limits. Checked once; nothing behind trusts a client."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mwaconvert.errors import InputError

#: as Docker names services and containers; so no name is a path
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
#: [host[:port]/]path[:tag][@digest]
_IMAGE = re.compile(
    r"[a-z0-9][A-Za-z0-9._-]*(:\d+)?(/[a-z0-9][a-z0-9._-]*)*(:[\w][\w.-]{0,127})?(@sha256:[0-9a-f]{64})?"
)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET = re.compile(r"(?i)token|secret|password|passwd|credential|(^|_)key($|_)")
_MOST_WORDS, _MOST_TEXT = 1000, 128 * 1024
_LEAST_MEMORY, _MOST_MEMORY = 4 * 2**20, 2**50
_LEAST_CPUS, _MOST_CPUS = 0.01, 4096.0
_HIDDEN = "***"


@dataclass(frozen=True)
class Order:
    """A job as it was asked for.

    Attributes
    ----------
    image : name of the container's image
    command, arguments : of the program; none: what the image itself starts
    name : unique among the jobs that are listed
    mount_archive : whether it sees the archive, to read
    shared_network : whether it is in the network of the cluster
    memory_limit, memory_reservation : bytes
    cpu_limit, cpu_reservation : cores
    environment : variables

    Examples
    --------
    >>> read_order({"image_name": "alpine", "command": ["ls"], "job_name": "test"}).argv
    ('ls',)
    """

    image: str
    command: tuple[str, ...]
    arguments: tuple[str, ...]
    name: str
    mount_archive: bool
    shared_network: bool
    memory_limit: int
    memory_reservation: int
    cpu_limit: float
    cpu_reservation: float
    environment: Mapping[str, str]

    @property
    def argv(self) -> tuple[str, ...]:
        """Program and arguments."""
        return self.command + self.arguments

    @property
    def canonical(self) -> dict[str, Any]:
        """As the store keeps it."""
        facts = asdict(self)
        return {**facts, "command": list(self.command), "arguments": list(self.arguments)}

    @property
    def shown(self) -> dict[str, Any]:
        """As people may see it: without what opens doors."""
        hidden = {
            name: _HIDDEN if _SECRET.search(name) else value for name, value in self.environment.items()
        }
        return {**self.canonical, "environment": hidden}


def order_of(canonical: Mapping[str, Any]) -> Order:
    """The order that the store has kept."""
    facts = dict(canonical)
    return Order(**{**facts, "command": tuple(facts["command"]), "arguments": tuple(facts["arguments"])})


def read_order(given: Mapping[str, Any]) -> Order:
    """The order of a request of `chime-frb-api`, which has eleven keys.

    Raises
    ------
    InputError : with the key that is wrong
    """
    unknown = sorted(set(given) - _KEYS)
    if unknown:
        raise InputError(f"there is no key {', '.join(unknown)}; keys are {', '.join(sorted(_KEYS))}")
    limit = _bytes(given, "job_mem_limit", 4 * 2**30)
    cpus = _cpus(given, "job_cpu_limit", 1.0)
    order = Order(
        image=image_name(given.get("image_name")),
        command=_words(given, "command"),
        arguments=_words(given, "arguments"),
        name=job_name(given.get("job_name")),
        mount_archive=_flag(given, "mount_archiver"),
        shared_network=_flag(given, "swarm_network"),
        memory_limit=limit,
        memory_reservation=_bytes(given, "job_mem_reservation", min(limit, 256 * 2**20), least=0),
        cpu_limit=cpus,
        cpu_reservation=_cpus(given, "job_cpu_reservation", cpus, least=0.0),
        environment=_environment(given.get("environment")),
    )
    if order.memory_reservation > limit:
        raise InputError(f"job_mem_reservation is {order.memory_reservation} and job_mem_limit only {limit}")
    if order.cpu_reservation > cpus:
        raise InputError(f"job_cpu_reservation is {order.cpu_reservation:g} and job_cpu_limit only {cpus:g}")
    return order


_KEYS = {
    "image_name",
    "command",
    "arguments",
    "job_name",
    "mount_archiver",
    "swarm_network",
    "job_mem_limit",
    "job_mem_reservation",
    "job_cpu_limit",
    "job_cpu_reservation",
    "environment",
}


def job_name(given: object) -> str:
    """A name that a job may have."""
    if not isinstance(given, str) or not _NAME.fullmatch(given):
        raise InputError(
            f"job_name: {_short(given)} is not a job name: use letters, digits, '_', '.' and '-', "
            "128 at most, a letter or digit first"
        )
    return given


def image_name(given: object) -> str:
    """A name that an image may have."""
    if not isinstance(given, str) or len(given) > 255 or not _IMAGE.fullmatch(given):
        raise InputError(f"image_name: {_short(given)} is not an image name, such as chimefrb/maestro:latest")
    return given


def _short(given: object) -> str:
    text = repr(given)
    return text if len(text) <= 80 else text[:77] + "..."


def _words(given: Mapping[str, Any], key: str) -> tuple[str, ...]:
    words = given.get(key) or []
    if not isinstance(words, list) or not all(isinstance(word, str) and "\0" not in word for word in words):
        raise InputError(f"{key}: a list of texts is expected, not {_short(words)}")
    if len(words) > _MOST_WORDS or sum(map(len, words)) > _MOST_TEXT:
        raise InputError(f"{key}: more than {_MOST_WORDS} words or {_MOST_TEXT} letters")
    return tuple(words)


def _flag(given: Mapping[str, Any], key: str) -> bool:
    flag = given.get(key, True)
    if not isinstance(flag, bool):
        raise InputError(f"{key}: true or false is expected, not {_short(flag)}")
    return flag


def _bytes(given: Mapping[str, Any], key: str, default: int, least: int = _LEAST_MEMORY) -> int:
    size = given.get(key, default)
    is_whole = isinstance(size, int) or (isinstance(size, float) and size.is_integer())
    if isinstance(size, bool) or not is_whole or not least <= size <= _MOST_MEMORY:
        raise InputError(f"{key}: bytes from {least} to {_MOST_MEMORY} are expected, not {_short(size)}")
    return int(size)


def _cpus(given: Mapping[str, Any], key: str, default: float, least: float = _LEAST_CPUS) -> float:
    cpus = given.get(key, default)
    if isinstance(cpus, bool) or not isinstance(cpus, int | float) or not least <= cpus <= _MOST_CPUS:
        raise InputError(f"{key}: cores from {least:g} to {_MOST_CPUS:g} are expected, not {_short(cpus)}")
    return float(cpus)


def _environment(given: object) -> dict[str, str]:
    if given is None:
        return {}
    if not isinstance(given, dict) or len(given) > _MOST_WORDS:
        raise InputError("environment: names and values are expected")
    found = {}
    for name, value in given.items():
        if value is None:  # a client without tokens hands on none
            continue
        if not _VARIABLE.fullmatch(name) or not isinstance(value, str | int | float) or "\0" in str(value):
            raise InputError(f"environment: {_short(name)} cannot be set to {_short(value)}")
        found[name] = str(value)
    if sum(map(len, found.values())) > _MOST_TEXT:
        raise InputError(f"environment: more than {_MOST_TEXT} letters")
    return found

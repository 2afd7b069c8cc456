"""Nodes of the search and their beams.

The scheme is inferred from what the tests of `chime-frb-api` expect of two nodes (cf1n1 and cf7n1): eight beams a node,
32 nodes for each of four columns of 256 beams, ten nodes a rack, addresses by rack and place.
"""

from __future__ import annotations

import re
from typing import Any

from mwaconvert.errors import InputError

_BEAMS, _ROWS, _COLUMNS, _IN_RACK = 8, 256, 4, 10
_N_NODES = _ROWS // _BEAMS * _COLUMNS
_NAME = re.compile(r"cf([1-9a-d])n(\d)", re.IGNORECASE)
_PORT = 5555


class NodeError(InputError):
    """There is no such node or beam."""


def node_info(name: str) -> dict[str, Any]:
    """Beams and addresses of a node.

    Examples
    --------
    >>> node_info("cf1n1")
    {'beams': [8, 9, 10, 11, 12, 13, 14, 15], 'ip_addrs': ['10.6.201.11', '10.7.201.11']}
    """
    found = _NAME.fullmatch(name)
    number = -1 if found is None else (int(found[1], 16) - 1) * _IN_RACK + int(found[2])
    if not 0 <= number < _N_NODES:
        raise NodeError(f"there is no node {name[:40]!r}; they are cf1n0 to cfDn7")
    column, row = divmod(number * _BEAMS, _ROWS)
    first = 1000 * column + row
    return {
        "beams": list(range(first, first + _BEAMS)),
        "ip_addrs": [f"10.{net}.{_address(number)}" for net in (6, 7)],
    }


def beam_info(text: str) -> dict[str, Any]:
    """Which node has a beam.

    Examples
    --------
    >>> beam_info("1234")
    {'hostname': 'cf7n1', 'ip_addr': '10.6.207.11', 'rpc_server': 'tcp://10.6.207.11:5555'}
    """
    is_number = text.isascii() and text.isdigit() and len(text) <= 4
    column, row = divmod(int(text), 1000) if is_number else (_COLUMNS, 0)
    if column >= _COLUMNS or row >= _ROWS:
        raise NodeError(f"there is no beam {text[:40]!r}; they are 0-255, 1000-1255, 2000-2255 and 3000-3255")
    number = (column * _ROWS + row) // _BEAMS
    rack, place = divmod(number, _IN_RACK)
    address = f"10.6.{_address(number)}"
    return {
        "hostname": f"cf{rack + 1:X}n{place}",
        "ip_addr": address,
        "rpc_server": f"tcp://{address}:{_PORT}",
    }


def _address(number: int) -> str:
    rack, place = divmod(number, _IN_RACK)
    return f"{201 + rack}.{10 + place}"

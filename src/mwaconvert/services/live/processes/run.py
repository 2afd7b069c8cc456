"""The program of a service: `python -m ...processes.run NAME [--config FILE]`, started by its master."""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from pathlib import Path

from mwaconvert.errors import Error
from mwaconvert.services.live.node import Name, read_site
from mwaconvert.services.live.processes.service import Service, run_service

#: module and class of each
_PROGRAMS = {
    Name.CLUSTERING: ("chain", "Chain"),
    Name.OFFLINE: ("offline", "Offline"),
    Name.PROCESSOR: ("processor", "Processor"),
    Name.WEBSITE: ("page", "Website"),
    Name.DADA: ("senders", "DadaSender"),
    Name.LOFAR: ("senders", "LofarSender"),
    Name.VOEVENT: ("events", "VOEventSender"),
    Name.KAFKA: ("events", "KafkaSender"),
}


def main() -> int:
    """Exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name", type=Name)
    parser.add_argument("--config", type=Path)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    module, kind = _PROGRAMS[given.name]
    try:
        found = getattr(importlib.import_module(f"mwaconvert.services.live.processes.{module}"), kind)
        service: Service = found(read_site(given.config))
        run_service(service)
    except Error as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

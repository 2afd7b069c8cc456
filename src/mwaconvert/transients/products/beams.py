"""Beams of one telescope: each is searched, and candidates learn in how many they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mwaconvert.errors import InputError
from mwaconvert.progress import Progress
from mwaconvert.spectra.stream import Stream
from mwaconvert.transients.judging.flags import across_beams
from mwaconvert.transients.products.observations import observations
from mwaconvert.transients.products.report import ProductReport
from mwaconvert.transients.products.requests import SearchRequest
from mwaconvert.transients.products.search import Found, SearchPlan, plan_search

_SECONDS = 86400.0  # of a day


def plan_beams(request: SearchRequest) -> list[SearchPlan]:
    """How each beam is searched.

    Parameters
    ----------
    request : for the files of all beams; those that follow each other are one beam

    Raises
    ------
    InputError : a single beam, a value that makes no sense, or an output that exists
    FormatError : a file is damaged
    """
    requests = observations(request)
    if len(requests) < 2:
        raise InputError("`beams`: expected the files of several beams, found one", option="beams")
    return [plan_search(one) for one in requests]


def search_beams(plans: Sequence[SearchPlan], progress: Progress | None = None) -> list[ProductReport]:
    """Search beams, compare their candidates, and write what was asked for of each.

    Parameters
    ----------
    plans : by `plan_beams`; where all files have a start time, candidates are compared by their MJD, else by the time
        from the start of the file. Numbers of beams are those of the files if these differ, else 1, 2, ...
    progress : told of the stages of each search

    Returns
    -------
    list of ProductReport
        in the order of the plans

    Raises
    ------
    InputError : all channels are masked, or an output exists
    ResourceError : it takes more memory than is allowed, or an output cannot be written
    """
    streams = [plan.survey.stream for plan in plans]
    found = compared([plan.found(progress) for plan in plans], streams)
    return [plan.written(each, progress) for plan, each in zip(plans, found, strict=True)]


def compared(found: Sequence[Found], streams: Sequence[Stream]) -> list[Found]:
    """What was found in beams, with the number of beams that have each candidate, and flags."""
    late_s = _starts_s(streams)
    own = [stream.recording.beam for stream in streams]
    numbers = own if len(set(own)) == len(own) else range(1, len(own) + 1)
    at_one_clock = {
        number: [replace(c, time_s=c.time_s + late) for c in each.candidates]
        for number, each, late in zip(numbers, found, late_s, strict=True)
    }
    marked = across_beams(at_one_clock)
    return [
        replace(
            each,
            candidates=[
                replace(there, time_s=here.time_s)
                for there, here in zip(marked[number], each.candidates, strict=True)
            ],
            beam=number,
            n_beams=len(found),
        )
        for number, each in zip(numbers, found, strict=True)
    ]


def _starts_s(streams: Sequence[Stream]) -> list[float]:
    """Seconds by which files begin after the first; 0 if one does not say when it begins."""
    starts = [stream.start_mjd for stream in streams if stream.start_mjd is not None]
    if len(starts) < len(streams):
        return [0.0] * len(streams)
    return [(start - min(starts)) * _SECONDS for start in starts]

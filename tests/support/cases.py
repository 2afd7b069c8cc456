"""Random calls of the converting kernels: tiny raw files, the tables that go with them, the twin's answer."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import reference
from hypothesis import strategies as st
from reference import FLAGGED, GOOD, MISSING, AveragedBlock

from mwaconvert import _core

Storage = Literal["float32", "int32", "rice"]

#: how an unknown pointer of a file looks: no kernel may follow it for a missing chunk
NOWHERE = 1 << 40


@dataclass
class RawFile:
    """A file of images, each stored in one of the ways of the correlators."""

    chunks: np.ndarray  #: (n_time, n_coarse) of _core.chunk_dtype
    handle: Any = field(default_factory=tempfile.TemporaryFile)

    def __del__(self) -> None:
        self.handle.close()

    def append(self, data: bytes) -> int:
        """Offset of the appended bytes."""
        offset = self.handle.seek(0, 2)
        self.handle.write(data)
        self.handle.flush()
        return offset

    def add_image(
        self, where: tuple[int, int], stored: np.ndarray, storage: Storage, rng: np.random.Generator
    ) -> None:
        """Store an image (rows, values): floats, or integers as they are before BSCALE and BZERO."""
        chunk = self.chunks[where]
        chunk["fd"] = self.handle.fileno()
        self.append(bytes(rng.integers(1, 50)))
        if storage == "rice":
            self._add_table(chunk, stored, rng)
        else:
            chunk["kind"] = 0 if storage == "float32" else 1
            chunk["data_offset"] = self.append(
                stored.astype(">f4" if storage == "float32" else ">i4").tobytes()
            )

    def _add_table(self, chunk: Any, stored: np.ndarray, rng: np.random.Generator) -> None:
        """A binary table like that of a compressed image; its rows lie in the heap in any order."""
        block, wide = int(rng.choice([16, 32])), bool(rng.integers(2))
        heap, descriptors = b"", {}
        for row in rng.permutation(len(stored)):
            if rng.random() < 0.2:
                heap += bytes(rng.choice([3, 60000]))  # rows of one image may lie far apart
            encoded = _core.rice_encode(np.ascontiguousarray(stored[row], np.int32), block).tobytes()
            descriptors[row] = np.array([len(encoded), len(heap)], ">i8" if wide else ">i4").tobytes()
            heap += encoded
        before, after = (bytes(k) for k in rng.integers(0, 9, 2))
        rows = [before + descriptors[row] + after for row in range(len(stored))]
        gap = int(rng.integers(0, 20))
        chunk["kind"] = 2
        chunk["rice_block"] = block
        chunk["desc_64"] = wide
        chunk["desc_offset"] = len(before)
        chunk["row_bytes"] = len(rows[0])
        chunk["data_offset"] = self.append(b"".join(rows) + bytes(gap) + heap)
        chunk["heap_offset"] = chunk["data_offset"] + len(rows) * len(rows[0]) + gap


@dataclass
class Case:
    """One output timestep: the input of a kernel, and in `cells` what the raw files hold."""

    n_fine: int
    freq_factor: int
    averaged: bool
    raw: RawFile
    antenna1: np.ndarray
    antenna2: np.ndarray
    row_flagged: np.ndarray
    factors: np.ndarray | None
    jones: np.ndarray | None
    channel_weight: np.ndarray
    channel_flagged: np.ndarray
    phasors: np.ndarray | None
    correlator: Literal["mwax", "legacy"]
    tables: dict[str, Any]  #: the arguments of this correlator only
    cells: np.ndarray  #: (n_time, n_coarse, n_row, n_fine, 4) complex128, rotated
    file_weight: np.ndarray  #: (n_time, n_coarse, n_row, 4)
    mask: np.ndarray | None  #: (n_time, n_coarse, n_row, n_fine) bool

    def arguments(self, rows: slice = slice(None), **changes: Any) -> dict[str, Any]:
        """Keyword arguments of the kernel for some rows, with output arrays full of rubbish."""
        n_rows = len(self.antenna1[rows])
        n_out = len(self.channel_weight) // self.n_fine * -(-self.n_fine // self.freq_factor)
        arguments = {
            "chunks": self.raw.chunks,
            "n_fine": self.n_fine,
            "freq_factor": self.freq_factor,
            "averaged": self.averaged,
            "antenna1": self.antenna1[rows],
            "antenna2": self.antenna2[rows],
            "row_flagged": self.row_flagged[rows],
            "factors": self.factors,
            "jones": self.jones,
            "channel_weight": self.channel_weight,
            "channel_flagged": self.channel_flagged,
            "mask": self._bits(rows),
            "phasors": self.phasors,
            **self.tables,
            "vis": np.full((n_rows, n_out, 4), np.nan, np.complex64),
            "weight": np.full((n_rows, n_out, 4), np.nan, np.float32),
            "bad_cells": np.zeros(n_rows, np.int64),
        }
        for name in {"file_row", "product", "conjugated"} & set(self.tables):
            arguments[name] = self.tables[name][rows]
        unknown = set(changes) - set(arguments)
        assert not unknown, unknown
        return arguments | changes

    def _bits(self, rows: slice) -> np.ndarray | None:
        return None if self.mask is None else np.packbits(self.mask, axis=3, bitorder="little")[:, :, rows]

    def call(self, threads: int = 1, **arguments: Any) -> None:
        kernel = _core.convert_mwax if self.correlator == "mwax" else _core.convert_legacy
        kernel(**arguments, threads=threads)

    def run(self, threads: int = 1, rows: slice = slice(None)) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """vis, weight, bad_cells of the kernel."""
        arguments = self.arguments(rows)
        self.call(threads, **arguments)
        return arguments["vis"], arguments["weight"], arguments["bad_cells"]

    def twin(self) -> AveragedBlock:
        return reference.average_block(
            self.cells,
            self.file_weight,
            self.raw.chunks["state"],
            self.freq_factor,
            self.averaged,
            self.antenna1,
            self.antenna2,
            self.row_flagged,
            None if self.factors is None else self.factors.astype(np.complex128),
            self.channel_weight.astype(np.float64),
            self.channel_flagged,
            self.mask,
            None if self.jones is None else self.jones.astype(np.complex128),
        )


@dataclass(frozen=True)
class Shape:
    """What a random case is to be like."""

    n_time: int = 1
    n_coarse: int = 1
    n_fine: int = 4
    n_antenna: int = 3
    freq_factor: int = 1
    averaged: bool | None = None  #: None: where it has to be
    storage: tuple[Storage, ...] = ("float32",)
    bscale: float = 1.0
    bzero: float = 0.0
    states: tuple[int, ...] = (GOOD,)  #: drawn for each chunk
    rotate: bool = False
    factors: bool = False
    jones: Literal["input", "output"] | None = None  #: channels that it is given for
    diagonal: bool = False  #: matrices
    channel_weights: bool = False
    weights: tuple[float, ...] | None = None  #: drawn for each baseline and product; None: no weights
    flagged_share: float = 0.0  #: of channels and rows
    bad_share: float = 0.0  #: of values that are not numbers, where they are stored as floats
    dropped_share: float = 0.0  #: of rows
    masked_share: float | None = None  #: of cells; None: no mask

    @property
    def is_averaged(self) -> bool:
        return self.averaged if self.averaged is not None else self.freq_factor > 1 or self.n_time > 1


def shapes() -> st.SearchStrategy[Shape]:
    """Anything that the kernels have to cope with."""
    return st.builds(
        Shape,
        n_time=st.integers(1, 5),
        n_coarse=st.integers(1, 3),
        n_fine=st.integers(1, 40),
        n_antenna=st.integers(1, 5),
        freq_factor=st.integers(1, 9),
        storage=st.sampled_from([("float32",), ("int32",), ("rice",), ("float32", "int32", "rice")]),
        bscale=st.sampled_from([1.0, 0.25, 0.3]),
        bzero=st.sampled_from([0.0, 7.3]),
        states=st.sampled_from([(GOOD,), (GOOD, FLAGGED), (GOOD, FLAGGED, MISSING), (FLAGGED, MISSING)]),
        rotate=st.booleans(),
        factors=st.booleans(),
        jones=st.none(),
        channel_weights=st.booleans(),
        weights=st.sampled_from(
            [None, (1.0,), (1.0, 0.7, 0.2), (0.5, 0.0), (1.0, 0.0, -1.0, np.nan, np.inf)]
        ),
        flagged_share=st.sampled_from([0.0, 0.3, 1.0]),
        bad_share=st.sampled_from([0.0, 0.003, 0.1]),
        dropped_share=st.sampled_from([0.0, 0.4]),
        masked_share=st.sampled_from([None, 0.0, 0.02, 0.3, 1.0]),
    )


def unit_phasors(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return np.exp(2j * np.pi * rng.random(shape)).astype(np.complex64)


def _images(shape: Shape, rng: np.random.Generator, raw: RawFile, n_rows: int, n_values: int) -> np.ndarray:
    """Fill a file; returns what it holds: (n_time, n_coarse, n_rows, n_values), 0 where missing."""
    values = np.zeros((shape.n_time, shape.n_coarse, n_rows, n_values), np.float32)
    for where in np.ndindex(shape.n_time, shape.n_coarse):
        chunk = raw.chunks[where]
        chunk["file"] = where[1]
        chunk["state"] = rng.choice(shape.states)
        chunk["bscale"], chunk["bzero"] = shape.bscale, shape.bzero
        if chunk["state"] == MISSING:
            chunk["fd"], chunk["data_offset"], chunk["weight_offset"] = -1, NOWHERE, NOWHERE
            continue
        storage = rng.choice(shape.storage)
        if storage == "float32":
            stored = rng.normal(0, 100, (n_rows, n_values)).astype(np.float32)
            bad = rng.random(stored.shape) < shape.bad_share
            stored[bad] = rng.choice([np.nan, np.inf, -np.inf], bad.sum())
            values[where] = stored
        else:
            stored = rng.normal(0, 10.0 ** rng.integers(1, 9), (n_rows, n_values)).astype(np.int32)
            values[where] = reference.physical_values(stored, shape.bscale, shape.bzero)
        raw.add_image(where, stored, storage, rng)
    return values


def _common(shape: Shape, rng: np.random.Generator, n_row: int) -> dict[str, Any]:
    n_channel = shape.n_coarse * shape.n_fine
    factors = None
    if shape.factors:
        size = rng.uniform(0.2, 3, (shape.n_antenna, n_channel, 2))
        factors = (size * unit_phasors(rng, *size.shape)).astype(np.complex64)
    jones = None
    if shape.jones is not None:
        n_out = shape.n_coarse * -(-shape.n_fine // shape.freq_factor)
        size = rng.uniform(0, 2, (shape.n_antenna, n_channel if shape.jones == "input" else n_out, 4))
        jones = (size * unit_phasors(rng, *size.shape)).astype(np.complex64)
        if shape.diagonal:
            jones[..., 1:3] = 0
    weight = rng.uniform(0.3, 5, n_channel) if shape.channel_weights else np.ones(n_channel)
    return {
        "n_fine": shape.n_fine,
        "freq_factor": shape.freq_factor,
        "averaged": shape.is_averaged,
        "row_flagged": (rng.random(n_row) < shape.flagged_share).astype(np.uint8),
        "factors": factors,
        "jones": jones,
        "channel_weight": weight.astype(np.float32),
        "channel_flagged": (rng.random(n_channel) < shape.flagged_share).astype(np.uint8),
        "mask": _mask(shape, rng, n_row),
    }


def _mask(shape: Shape, rng: np.random.Generator, n_row: int) -> np.ndarray | None:
    """Single cells, and channels that are flagged all the time."""
    if shape.masked_share is None:
        return None
    mask = rng.random((shape.n_time, shape.n_coarse, n_row, shape.n_fine)) < shape.masked_share
    mask |= rng.random((shape.n_coarse, n_row, shape.n_fine)) < shape.masked_share / 4
    return mask


def mwax_case(shape: Shape, seed: int = 1) -> Case:
    """All baselines of the antennas, less those dropped."""
    rng = np.random.default_rng(seed)
    raw = RawFile(np.zeros((shape.n_time, shape.n_coarse), _core.chunk_dtype))
    raw.chunks["weight_offset"] = -1
    all1, all2 = (a.astype(np.int32) for a in np.triu_indices(shape.n_antenna))
    n_baseline = len(all1)
    values = _images(shape, rng, raw, n_baseline, shape.n_fine * 8)
    with np.errstate(invalid="ignore"):
        cells = values.astype(np.float64).view(np.complex128).reshape(*values.shape[:3], shape.n_fine, 4)
    file_weight = np.ones((shape.n_time, shape.n_coarse, n_baseline, 4))
    if shape.weights is not None:
        for where in np.ndindex(shape.n_time, shape.n_coarse):
            if raw.chunks[where]["state"] != MISSING:
                file_weight[where] = rng.choice(np.array(shape.weights, np.float32), (n_baseline, 4))
                raw.chunks["weight_offset"][where] = raw.append(file_weight[where].astype(">f4").tobytes())

    file_row = np.flatnonzero(rng.random(n_baseline) >= shape.dropped_share).astype(np.int64)
    antenna1, antenna2 = all1[file_row], all2[file_row]
    cells, file_weight = cells[:, :, file_row], file_weight[:, :, file_row]
    phasors = None
    if shape.rotate:
        phasors = unit_phasors(rng, shape.n_time, shape.n_coarse, shape.n_antenna, shape.n_fine)
        cells = reference.rotated_cells(cells, phasors.astype(np.complex128), antenna1, antenna2)
    return Case(
        **_common(shape, rng, len(file_row)),
        raw=raw,
        antenna1=antenna1,
        antenna2=antenna2,
        phasors=phasors,
        correlator="mwax",
        tables={"file_row": file_row, "use_weights": True},
        cells=cells,
        file_weight=file_weight,
    )


def legacy_case(shape: Shape, seed: int = 1, n_slot: int = 6, samples: float = 0.0) -> Case:
    """Rows draw their products at random; the antennas of a row have nothing to do with its slots.

    samples : Van Vleck correction of what the file holds, with this number of samples
    """
    rng = np.random.default_rng(seed)
    raw = RawFile(np.zeros((shape.n_time, shape.n_coarse), _core.chunk_dtype))
    n_product = n_slot // 2 * (n_slot // 2 + 1) * 2
    values = _images(shape, rng, raw, shape.n_fine, n_product * 2)
    if samples:
        for where in np.ndindex(*values.shape[:2]):
            if raw.chunks[where]["state"] != MISSING:
                _core.van_vleck(values[where].view(np.complex64), n_slot, samples)
    with np.errstate(invalid="ignore"):
        products = values.astype(np.float64).view(np.complex128)
    if shape.masked_share is None:
        n_row = int(rng.integers(1, 12))
        product = rng.integers(0, n_product, (n_row, 4)).astype(np.int32)
    else:  # a product has one row only, but may have several places in it
        n_row = int(rng.integers(1, n_product // 4 + 1))
        product = rng.permutation(n_product)[: 4 * n_row].reshape(n_row, 4).astype(np.int32)
        product[:, 2] = np.where(rng.random(n_row) < 0.3, product[:, 1], product[:, 2])
    conjugated = rng.integers(0, 2, (n_row, 4)).astype(np.uint8)
    phasors = unit_phasors(rng, shape.n_time, shape.n_coarse, shape.n_fine, n_slot) if shape.rotate else None
    return Case(
        **_common(shape, rng, n_row),
        raw=raw,
        antenna1=rng.integers(0, shape.n_antenna, n_row).astype(np.int32),
        antenna2=rng.integers(0, shape.n_antenna, n_row).astype(np.int32),
        phasors=phasors,
        correlator="legacy",
        tables={"n_slot": n_slot, "product": product, "conjugated": conjugated, "van_vleck_samples": 0.0},
        cells=reference.legacy_cells(
            products, product, conjugated, None if phasors is None else phasors.astype(np.complex128)
        ),
        file_weight=np.ones((shape.n_time, shape.n_coarse, n_row, 4)),
    )


def check_against_twin(case: Case, tolerance: float = 3e-7) -> None:
    """Values to `tolerance` of the largest that entered, weights to 3e-7, signs and counts exactly."""
    vis, weight, bad_cells = case.run()
    twin = case.twin()
    np.testing.assert_array_equal(bad_cells, twin.bad_cells)
    np.testing.assert_array_equal(np.signbit(weight), np.signbit(twin.weight))
    np.testing.assert_allclose(weight, twin.weight, rtol=3e-7)
    error = np.abs(vis - twin.vis)
    worst = np.max(error / np.where(twin.scale > 0, twin.scale, 1), initial=0)
    assert worst <= tolerance, f"error {worst:.2g} of the scale"


def check_bit_equal(case: Case) -> None:
    """Neither threads nor the choice of rows in a call change a bit."""
    whole = case.run()
    for threads in (2, 5):
        for one, other in zip(whole, case.run(threads), strict=True):
            np.testing.assert_array_equal(one.view(np.uint8), other.view(np.uint8))
    n_rows = len(case.antenna1)
    for cut in {1, n_rows // 3, n_rows - 1} - {0}:
        parts = [case.run(rows=rows) for rows in (slice(0, cut), slice(cut, n_rows))]
        for one, *pieces in zip(whole, *parts, strict=True):
            np.testing.assert_array_equal(one.view(np.uint8), np.concatenate(pieces).view(np.uint8))

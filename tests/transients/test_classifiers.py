"""Networks of others that judge candidates: made here with onnx, run by onnxruntime."""

import math
from pathlib import Path

import numpy as np
import pytest
from filterbanks import pulse

from mwaconvert.errors import FormatError, InputError
from mwaconvert.formats.spectra.sigproc_writer import FilterbankWriter
from mwaconvert.transients import products
from mwaconvert.transients.judging.classifiers import Classifier

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

FREQS = 1220 + 300 / 64 * (np.arange(64) + 0.5)
DT = 512e-6


def network(path: Path, shapes: list[list[int]], kind: str = "ReduceMax") -> Path:
    """A model whose two outputs of a candidate are 0 and the largest value of its last picture, over 100."""
    helper, number = onnx.helper, onnx.TensorProto.FLOAT
    inputs = [helper.make_tensor_value_info(f"picture{k}", number, ["N", *s]) for k, s in enumerate(shapes)]
    out = helper.make_tensor_value_info("scores", number, None)
    constants = [
        helper.make_tensor("flat", onnx.TensorProto.INT64, [2], [0, -1]),
        helper.make_tensor("axis", onnx.TensorProto.INT64, [1], [1]),
        helper.make_tensor("part", number, [1], [0.01]),
        helper.make_tensor("none", number, [1], [0.0]),
    ]
    nodes = [
        helper.make_node("Reshape", [f"picture{len(shapes) - 1}", "flat"], ["row"]),
        helper.make_node(kind, ["row", "axis"], ["top"], keepdims=1),
        helper.make_node("Mul", ["top", "part"], ["score"]),
        helper.make_node("Mul", ["top", "none"], ["other"]),
        helper.make_node("Concat", ["other", "score"], ["scores"], axis=1),
    ]
    graph = helper.make_graph(nodes, "test", inputs, [out], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.fil"
    with FilterbankWriter(path, FREQS, DT, 8) as writer:
        writer.write(pulse(FREQS, 6000, DT, 150.0, 1.0, 3e-3, 25.0))
    return path


@pytest.mark.parametrize(
    "shapes", [[[256, 256, 1], [256, 256, 1]], [[1, 256, 256], [1, 256, 256]], [[256, 256]]]
)
def test_a_model_scores_the_cutouts(file, tmp_path, shapes):
    model = network(tmp_path / "m.onnx", shapes)
    request = products.SearchRequest(
        path=file, dm_min=0, dm_max=400, classifier=model, max_plots=1, threshold=5.5
    )
    best, *others = products.plan(request).run().candidates
    assert best.dm == pytest.approx(150, abs=4)
    # the brightest value of a picture with standard deviation 1
    assert 0.03 < best.score < 1.5
    assert all(math.isnan(c.score) for c in others)


def test_what_is_no_model_is_refused_before_the_work(file, tmp_path):
    request = {"path": file, "dm_min": 0, "dm_max": 400}
    with pytest.raises(InputError, match="no such file"):
        products.plan(products.SearchRequest(**request, classifier=tmp_path / "none.onnx"))
    (tmp_path / "text.onnx").write_text("weights")
    with pytest.raises(FormatError, match="not a sound ONNX model"):
        products.plan(products.SearchRequest(**request, classifier=tmp_path / "text.onnx"))
    with pytest.raises(FormatError, match="256 x 256"):
        Classifier(network(tmp_path / "small.onnx", [[64, 64, 1]]))

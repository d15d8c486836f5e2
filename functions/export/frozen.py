"""Writes SavedModels whose work before the first prediction is done at build time: the graph has been through TensorFlow's
optimisers with the weights as constants, so that what can be computed is, and convolutions and what follows them are
fused into one operation. Then the weights become variables again: a runtime copies a graph many times, variables never.

A runtime need not optimise such a graph for each signature; functions/tensorflow leaves that out for a graph with fused
operations.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import graph_pb2
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
from tensorflow.python.grappler import tf_optimizer

# Fused operations are made for nodes that are known to run on a CPU.
CPU = "/job:localhost/replica:0/task:0/device:CPU:0"

# A constant of more bytes is a weight.
LARGE = 1024


def write(folder: Path, signatures: dict[str, Callable]) -> None:
    """Saves signatures, which share their weights, for prediction on a CPU."""
    meta = meta_graph_pb2.MetaGraphDef()
    functions = {name: f.get_concrete_function() for name, f in sorted(signatures.items())}
    constant = {name: convert_variables_to_constants_v2(f, lower_control_flow=False) for name, f in functions.items()}
    with tf.Graph().as_default() as graph:
        for name, function in functions.items():
            _add(meta, name, constant[name], sorted(function.structured_outputs))
        meta.graph_def.CopyFrom(_share_constants(graph.as_graph_def()))
    _save(folder, _optimise(meta), dict(meta.signature_def))


def _add(meta: meta_graph_pb2.MetaGraphDef, name: str, frozen, outputs: list[str]) -> None:
    """Puts a signature's graph, without variables, into the default graph, under the signature's name."""
    tf.import_graph_def(frozen.graph.as_graph_def(), name=name)
    signature = meta.signature_def[name]
    signature.method_name = tf.compat.v1.saved_model.signature_constants.PREDICT_METHOD_NAME

    def info(tensor) -> meta_graph_pb2.TensorInfo:
        return meta_graph_pb2.TensorInfo(name=f"{name}/{tensor.name}", dtype=tensor.dtype.as_datatype_enum, tensor_shape=tensor.shape.as_proto())

    for tensor in frozen.inputs:
        signature.inputs[tensor.op.name].CopyFrom(info(tensor))
    # A function's outputs come in the order of their names.
    for key, tensor in zip(outputs, frozen.outputs, strict=True):
        signature.outputs[key].CopyFrom(info(tensor))


def _share_constants(graph: graph_pb2.GraphDef) -> graph_pb2.GraphDef:
    """Keeps one of several equal constants: the signatures' weights."""
    first: dict[bytes, str] = {}
    instead: dict[str, str] = {}
    kept = graph_pb2.GraphDef(library=graph.library, versions=graph.versions)
    for node in graph.node:
        if node.op == "Const" and not node.input:
            value = node.attr["value"].SerializeToString(deterministic=True)
            if first.setdefault(value, node.name) != node.name:
                instead[node.name] = first[value]
                continue
        kept.node.append(node)
    for node in kept.node:
        for i, name in enumerate(node.input):
            base, colon, index = name.removeprefix("^").partition(":")
            if base in instead:
                node.input[i] = ("^" if name.startswith("^") else "") + instead[base] + colon + index
    return kept


def _optimise(meta: meta_graph_pb2.MetaGraphDef) -> graph_pb2.GraphDef:
    """Runs TensorFlow's optimisers as a session would when it is asked for the signatures' outputs."""
    work = meta_graph_pb2.MetaGraphDef()
    work.CopyFrom(meta)
    for node in work.graph_def.node:
        node.device = CPU
    asked = {t.name.partition(":")[0] for s in meta.signature_def.values() for t in s.outputs.values()}
    work.collection_def["train_op"].node_list.value.extend(sorted(asked))
    config = config_pb2.ConfigProto()
    config.graph_options.rewrite_options.min_graph_nodes = -1  # small graphs, too
    best = tf_optimizer.OptimizeGraph(config, work)
    for node in best.node:
        node.device = ""
    return best


def _save(folder: Path, graph_def: graph_pb2.GraphDef, signatures: dict[str, meta_graph_pb2.SignatureDef]) -> None:
    """Writes a SavedModel with the graph's large constants as variables."""
    weights: dict[str, np.ndarray] = {}
    rest = graph_pb2.GraphDef(library=graph_def.library, versions=graph_def.versions)
    for node in graph_def.node:
        if node.op == "Const" and node.attr["value"].tensor.ByteSize() > LARGE:
            weights[node.name] = tf.make_ndarray(node.attr["value"].tensor)
        else:
            rest.node.append(node)
    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        zero = v1.zeros_initializer()
        variables = {
            name: v1.get_variable(f"weights/{i}", value.shape, value.dtype, zero, use_resource=True)
            for i, (name, value) in enumerate(weights.items())
        }
        tf.import_graph_def(rest, name="", input_map={f"{name}:0": v.read_value() for name, v in variables.items()})
        for name, variable in variables.items():
            session.run(variable.initializer, {variable.initializer.inputs[1]: weights[name]})
        builder = v1.saved_model.builder.SavedModelBuilder(str(folder))
        builder.add_meta_graph_and_variables(session, [v1.saved_model.tag_constants.SERVING], signatures)
        builder.save()

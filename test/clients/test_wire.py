"""weir's own .proto files against those of the clients: every message, field and method of weir's, read through the
server's reflection, has the client's name, number and type."""

import importlib
import pkgutil

import grpc
import pytest
import tensorflow_serving.apis
from google.protobuf import descriptor_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tensorflow.core.example import example_pb2, feature_pb2
from tritonclient.grpc import model_config_pb2, service_pb2


def serving_modules():
    for m in pkgutil.iter_modules(tensorflow_serving.apis.__path__):
        if m.name.endswith("_pb2"):
            yield importlib.import_module("tensorflow_serving.apis." + m.name)


def walk(prefix, messages):
    for m in messages:
        name = f"{prefix}.{m.name}"
        yield name, m
        yield from walk(name, m.nested_type)


def described(files):
    """Messages and enums by their full names, and methods by service."""
    messages, enums, methods = {}, {}, {}
    for f in files:
        for name, m in walk(f.package, f.message_type):
            messages[name] = m
            enums.update({f"{name}.{e.name}": e for e in m.enum_type})
        enums.update({f"{f.package}.{e.name}": e for e in f.enum_type})
        for s in f.service:
            for m in s.method:
                methods[f"{f.package}.{s.name}/{m.name}"] = (m.input_type, m.output_type, m.client_streaming, m.server_streaming)
    return messages, enums, methods


def proto(module):
    f = descriptor_pb2.FileDescriptorProto()
    module.DESCRIPTOR.CopyToProto(f)
    return f


@pytest.mark.parametrize("symbol", ["inference.GRPCInferenceService", "tensorflow.serving.PredictionService", "tensorflow.Example"])
def test_same(addr, symbol):
    modules = [service_pb2, model_config_pb2, example_pb2, feature_pb2, *serving_modules()]
    their_messages, their_enums, their_methods = described([proto(m) for m in modules])
    with grpc.insecure_channel(addr) as channel:
        messages, enums, methods = described([ProtoReflectionDescriptorDatabase(channel).FindFileContainingSymbol(symbol)])
    assert messages
    for name, ours in messages.items():
        theirs = {f.name: f for f in their_messages[name].field}
        for f in ours.field:
            t = theirs[f.name]
            assert (f.number, f.type, f.type_name, f.label) == (t.number, t.type, t.type_name, t.label), f"{name}.{f.name}"
    for name, ours in enums.items():
        theirs = {v.name: v.number for v in their_enums[name].value}
        assert {v.name: v.number for v in ours.value}.items() <= theirs.items(), name
    for name, ours in methods.items():
        assert ours == their_methods[name], name

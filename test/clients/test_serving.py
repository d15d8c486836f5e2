"""TensorFlow Serving's own client over gRPC, and what its REST clients look at."""

import grpc
import numpy as np
import pytest
import requests
from conftest import espresso
from tensorflow.core.example import example_pb2
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2, types_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)


@pytest.fixture(scope="module")
def channel(addr):
    with grpc.insecure_channel(addr) as c:
        yield c


@pytest.fixture
def prediction(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


def shape(value):
    return tensor_shape_pb2.TensorShapeProto(dim=[tensor_shape_pb2.TensorShapeProto.Dim(size=d) for d in value])


def tensor(value):
    """What tf.make_tensor_proto makes of an array of floats."""
    return tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, tensor_shape=shape(value.shape), tensor_content=value.tobytes())


def example(x):
    e = example_pb2.Example()
    e.features.feature["x"].float_list.value.append(x)
    return e


def test_predict(prediction, digits):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "digits"
    request.inputs["images"].CopyFrom(tensor(digits))
    answer = prediction.Predict(request)
    assert answer.model_spec.version.value == 1 and answer.model_spec.signature_name == "serving_default"
    got = np.array(answer.outputs["probabilities"].float_val).reshape(2, 10)
    np.testing.assert_allclose(got.sum(axis=1), 1, atol=1e-5)
    request.output_filter.append("classes")
    request.model_spec.version.value = 1
    assert set(prediction.Predict(request).outputs) == {"classes"}
    # The same as values in the field of their type.
    request.inputs["images"].CopyFrom(tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, tensor_shape=shape(digits.shape), float_val=digits.ravel()))
    assert list(prediction.Predict(request).outputs["classes"].int64_val) == list(answer.outputs["classes"].int64_val)


def test_photo_by_label(prediction, coffee):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "imagenet"
    request.model_spec.version_label = "lite2"
    request.model_spec.signature_name = "image_bytes"
    request.inputs["image_bytes"].CopyFrom(tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, tensor_shape=shape([1]), string_val=[coffee]))
    answer = prediction.Predict(request)
    assert answer.model_spec.version.value == 2
    espresso(list(answer.outputs["labels"].string_val))


def test_classify_and_regress(prediction):
    regress = regression_pb2.RegressionRequest()
    regress.model_spec.name, regress.model_spec.signature_name = "half", "regress_x_to_y"
    regress.input.example_list.examples.extend([example(2), example(5)])
    assert [r.value for r in prediction.Regress(regress).result.regressions] == [3, 4.5]
    classify = classification_pb2.ClassificationRequest()
    classify.model_spec.name, classify.model_spec.signature_name = "half", "classify_x_to_y"
    classify.input.example_list_with_context.examples.append(example_pb2.Example())
    classify.input.example_list_with_context.context.CopyFrom(example(4))
    assert prediction.Classify(classify).result.classifications[0].classes[0].score == 4
    multi = inference_pb2.MultiInferenceRequest(input=regress.input)
    for name, method in (("regress_x_to_y", "regress"), ("classify_x_to_y", "classify")):
        task = multi.tasks.add(method_name="tensorflow/serving/" + method)
        task.model_spec.name, task.model_spec.signature_name = "half", name
    results = prediction.MultiInference(multi).results
    assert [r.value for r in results[0].regression_result.regressions] == [3, 4.5]
    assert [c.classes[0].score for c in results[1].classification_result.classifications] == [3, 4.5]


def test_metadata(prediction):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "digits"
    answer = prediction.GetModelMetadata(request)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(signatures)
    images = signatures.signature_def["serving_default"].inputs["images"]
    assert images.dtype == types_pb2.DT_FLOAT and [d.size for d in images.tensor_shape.dim] == [-1, 8, 8, 1]


def test_status(channel, addr):
    stub = model_service_pb2_grpc.ModelServiceStub(channel)
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "digits"
    answer = stub.GetModelStatus(request).model_version_status[0]
    assert answer.version == 1 and answer.state == get_model_status_pb2.ModelVersionStatus.AVAILABLE and answer.status.error_code == 0
    # The same object over REST, which KServe's clients read, too.
    rest = requests.get(f"http://{addr}/v1/models/digits").json()
    assert rest["model_version_status"][0] == {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    assert rest["name"] == "digits" and rest["ready"] is True


@pytest.mark.parametrize(
    "name, signature, code, message",
    [
        ("", "", grpc.StatusCode.INVALID_ARGUMENT, "names no model"),
        ("cats", "", grpc.StatusCode.NOT_FOUND, 'no such model "cats"'),
        ("digits", "nope", grpc.StatusCode.NOT_FOUND, 'no signature "nope"'),
        ("digits", "", grpc.StatusCode.INVALID_ARGUMENT, 'missing input "images"'),
    ],
)
def test_errors(prediction, name, signature, code, message):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = name, signature
    with pytest.raises(grpc.RpcError) as e:
        prediction.Predict(request)
    assert e.value.code() == code and message in e.value.details()

"""Two elements of every type, by the name that the model dtypes gives them: the type's name in V2, and the values."""

import ml_dtypes
import numpy as np

# What has no edge in its type shows nothing: the smallest, the largest, and what is special.
VALUES = {
    "bool": ("BOOL", np.array([True, False])),
    "uint8": ("UINT8", np.array([0, 255], np.uint8)),
    "uint16": ("UINT16", np.array([0, 65535], np.uint16)),
    "uint32": ("UINT32", np.array([0, 2**32 - 1], np.uint32)),
    "uint64": ("UINT64", np.array([0, 2**64 - 1], np.uint64)),
    "int8": ("INT8", np.array([-128, 127], np.int8)),
    "int16": ("INT16", np.array([-(2**15), 2**15 - 1], np.int16)),
    "int32": ("INT32", np.array([-(2**31), 2**31 - 1], np.int32)),
    "int64": ("INT64", np.array([-(2**63), 2**63 - 1], np.int64)),
    "float16": ("FP16", np.array([6.1e-5, -65504], np.float16)),
    "bfloat16": ("BF16", np.array([1.5, -(2.0**100)], ml_dtypes.bfloat16)),
    "float32": ("FP32", np.array([1.17549435e-38, 3.4028235e38], np.float32)),
    "float64": ("FP64", np.array([5e-324, 1.7976931348623157e308], np.float64)),
    "string": ("BYTES", np.array([b"\x00\xff\xfe not UTF-8", "ü".encode()], np.object_)),
}
# JSON has strings of characters, not of bytes.
TEXT = np.array([b"plain", "ü".encode()], np.object_)

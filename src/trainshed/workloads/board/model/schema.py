"""The part of the TensorFlow Lite schema that is read: names of numbers, and the options' fields.

Facts of ``schema.fbs`` (version 3). A value's index is its number there.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from trainshed.workloads.board.model.graph import DType

DTYPES = {
    0: DType.FLOAT32, 1: DType.FLOAT16, 2: DType.INT32, 3: DType.UINT8, 4: DType.INT64,
    6: DType.BOOL, 7: DType.INT16, 9: DType.INT8,
}  # fmt: skip
CUSTOM = 32

KINDS = tuple(
    """
ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE
EMBEDDING_LOOKUP FLOOR FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D
LOCAL_RESPONSE_NORMALIZATION LOGISTIC LSH_PROJECTION LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1
RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH SVDF TANH CONCAT_EMBEDDINGS SKIP_GRAM
CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN GATHER BATCH_TO_SPACE_ND
SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE
BIDIRECTIONAL_SEQUENCE_RNN EXP TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM
CAST PRELU MAXIMUM ARG_MAX MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE
SIN TRANSPOSE_CONV SPARSE_TO_DENSE TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW
ARG_MIN FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK
REDUCE_MIN FLOOR_DIV REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD RANGE RESIZE_NEAREST_NEIGHBOR
LEAKY_RELU SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N GATHER_ND COS
WHERE RANK ELU REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ROUND HARD_SWISH IF WHILE
NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM
BATCH_MATMUL PLACEHOLDER_FOR_GREATER_OP_CODES CUMSUM CALL_ONCE BROADCAST_TO RFFT2D CONV_3D IMAG
REAL COMPLEX_ABS HASHTABLE HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL
CONV_3D_TRANSPOSE VAR_HANDLE READ_VARIABLE ASSIGN_VARIABLE BROADCAST_ARGS RANDOM_STANDARD_NORMAL
BUCKETIZE RANDOM_UNIFORM MULTINOMIAL GELU DYNAMIC_UPDATE_SLICE RELU_0_TO_1 UNSORTED_SEGMENT_PROD
UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_SUM ATAN2 UNSORTED_SEGMENT_MIN SIGN BITCAST BITWISE_XOR
RIGHT_SHIFT STABLEHLO_LOGISTIC STABLEHLO_ADD STABLEHLO_DIVIDE STABLEHLO_MULTIPLY
STABLEHLO_MAXIMUM STABLEHLO_RESHAPE STABLEHLO_CLAMP STABLEHLO_CONCATENATE
STABLEHLO_BROADCAST_IN_DIM STABLEHLO_CONVOLUTION STABLEHLO_SLICE STABLEHLO_CUSTOM_CALL
STABLEHLO_REDUCE STABLEHLO_ABS STABLEHLO_AND STABLEHLO_COSINE STABLEHLO_EXPONENTIAL
STABLEHLO_FLOOR STABLEHLO_LOG STABLEHLO_MINIMUM STABLEHLO_NEGATE STABLEHLO_OR STABLEHLO_POWER
STABLEHLO_REMAINDER STABLEHLO_RSQRT STABLEHLO_SELECT STABLEHLO_SUBTRACT STABLEHLO_TANH
STABLEHLO_SCATTER STABLEHLO_COMPARE STABLEHLO_CONVERT STABLEHLO_DYNAMIC_SLICE
STABLEHLO_DYNAMIC_UPDATE_SLICE STABLEHLO_PAD STABLEHLO_IOTA STABLEHLO_DOT_GENERAL
STABLEHLO_REDUCE_WINDOW STABLEHLO_SORT STABLEHLO_WHILE STABLEHLO_GATHER STABLEHLO_TRANSPOSE
DILATE STABLEHLO_RNG_BIT_GENERATOR REDUCE_WINDOW STABLEHLO_COMPOSITE STABLEHLO_SHIFT_LEFT
STABLEHLO_CBRT STABLEHLO_CASE
""".split()  # noqa: SIM905  (a list of 210 quoted names says no more)
)

ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT")
PADDINGS = ("SAME", "VALID")
MIRRORS = ("REFLECT", "SYMMETRIC")
WEIGHTS = ("DEFAULT", "SHUFFLED4x16INT8")


class Field(NamedTuple):
    """A field of an options table. ``kind``: a scalar's, or ``i32s`` for a list of numbers."""

    name: str
    slot: int
    kind: str = "i32"
    default: Any = 0
    names: tuple[str, ...] = ()


def _activation(slot: int) -> Field:
    return Field("fused_activation_function", slot, "i8", 0, ACTIVATIONS)


def _flag(name: str, slot: int, default: bool = False) -> Field:
    return Field(name, slot, "bool", default)


_PADDING = Field("padding", 0, "i8", 0, PADDINGS)
_STRIDES = (Field("stride_w", 1), Field("stride_h", 2))
_POOL = (
    _PADDING, *_STRIDES, Field("filter_width", 3), Field("filter_height", 4), _activation(5),
)  # fmt: skip
_REDUCER = (_flag("keep_dims", 0),)

#: The number of the options table in the schema's union, and its fields, by operator.
OPTIONS: dict[str, tuple[int, tuple[Field, ...]]] = {
    "CONV_2D": (1, (
        _PADDING, *_STRIDES, _activation(3),
        Field("dilation_w_factor", 4, default=1), Field("dilation_h_factor", 5, default=1),
    )),
    "DEPTHWISE_CONV_2D": (2, (
        _PADDING, *_STRIDES, Field("depth_multiplier", 3), _activation(4),
        Field("dilation_w_factor", 5, default=1), Field("dilation_h_factor", 6, default=1),
    )),
    "AVERAGE_POOL_2D": (5, _POOL),
    "MAX_POOL_2D": (5, _POOL),
    "L2_POOL_2D": (5, _POOL),
    "FULLY_CONNECTED": (8, (
        _activation(0), Field("weights_format", 1, "i8", 0, WEIGHTS), _flag("keep_num_dims", 2),
        _flag("asymmetric_quantize_inputs", 3),
    )),
    "SOFTMAX": (9, (Field("beta", 0, "f32", 0.0),)),
    "CONCATENATION": (10, (Field("axis", 0), _activation(1))),
    "ADD": (11, (_activation(0), _flag("pot_scale_int16", 1, True))),
    "L2_NORMALIZATION": (12, (_activation(0),)),
    "RESIZE_BILINEAR": (15, (_flag("align_corners", 2), _flag("half_pixel_centers", 3))),
    "RESHAPE": (17, (Field("new_shape", 0, "i32s", ()),)),
    "SPACE_TO_DEPTH": (19, (Field("block_size", 0),)),
    "MUL": (21, (_activation(0),)),
    "GATHER": (23, (Field("axis", 0), Field("batch_dims", 1))),
    "MEAN": (27, _REDUCER),
    "SUM": (27, _REDUCER),
    "REDUCE_MAX": (27, _REDUCER),
    "REDUCE_MIN": (27, _REDUCER),
    "REDUCE_PROD": (27, _REDUCER),
    "SUB": (28, (_activation(0), _flag("pot_scale_int16", 1, True))),
    "DIV": (29, (_activation(0),)),
    "SQUEEZE": (30, (Field("squeeze_dims", 0, "i32s", ()),)),
    "STRIDED_SLICE": (32, (
        Field("begin_mask", 0), Field("end_mask", 1), Field("ellipsis_mask", 2),
        Field("new_axis_mask", 3), Field("shrink_axis_mask", 4), _flag("offset", 5),
    )),
    "SPLIT": (35, (Field("num_splits", 0),)),
    "CAST": (37, (Field("in_data_type", 0, "i8"), Field("out_data_type", 1, "i8"))),
    "TRANSPOSE_CONV": (49, (
        _PADDING, *_STRIDES, _activation(3), Field("quantized_bias_type", 4, "i8"),
    )),
    "PACK": (59, (Field("values_count", 0), Field("axis", 1))),
    "UNPACK": (64, (Field("num", 0), Field("axis", 1))),
    "RESIZE_NEAREST_NEIGHBOR": (74, (_flag("align_corners", 0), _flag("half_pixel_centers", 1))),
    "LEAKY_RELU": (75, (Field("alpha", 0, "f32", 0.0),)),
    "MIRROR_PAD": (77, (Field("mode", 0, "i8", 0, MIRRORS),)),
    "SPLIT_V": (79, (Field("num_splits", 0),)),
    "DEPTH_TO_SPACE": (94, (Field("block_size", 0),)),
    "BATCH_MATMUL": (101, (
        _flag("adj_x", 0), _flag("adj_y", 1), _flag("asymmetric_quantize_inputs", 2),
    )),
    "GELU": (116, (_flag("approximate", 0),)),
}  # fmt: skip

"""The reference's fixed-point arithmetic, for tables that are computed before the build.

An int8 operator of one input is a table of 256 bytes: it is exact, small and the fastest there
is. Plain integers here, with the overflow that the reference has where it has one.
"""

from __future__ import annotations

from trainshed.workloads.board.compiler.arithmetic import Multiplier

_MAX = 2**31 - 1
_MIN = -(2**31)
# exp(-2^k / 4) for k = 0.., as fractions of 2^31.
_EXP_OF_QUARTERS = (
    1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242,
)  # fmt: skip
_EXP_MINUS_EIGHTH = 1895147668
_ONE_THIRD = 715827883
_48_OVER_17 = 1515870810
_MINUS_32_OVER_17 = -1010580540


def requantize(value: int, by: Multiplier) -> int:
    """Return value × multiplier as the kernels' ``requantize`` does."""
    left, right = max(by.shift, 0), max(-by.shift, 0)
    return divide_by_power(doubling_high(_wrapped(value << left, 32), by.value), right)


def doubling_high(a: int, b: int) -> int:
    """Return 2ab / 2^32, rounded, saturated."""
    return min((a * b + (1 << 30)) >> 31, _MAX)


def divide_by_power(value: int, n: int, bits: int = 32) -> int:
    """Return value / 2^n, halves away from zero, in words of so many bits."""
    mask = _wrapped((1 << n) - 1, bits)
    threshold = (mask >> 1) + (value < 0)
    return (value >> n) + ((value & mask) > threshold)


def doubling_high_16(a: int, b: int) -> int:
    """Return 2ab / 2^16, rounded, saturated."""
    product = a * b
    nudged = product + ((1 << 14) if product >= 0 else 1 - (1 << 14))
    return min(_toward_zero(nudged, 15), 2**15 - 1)


def doubling_high_16_truncated(a: int, b: int) -> int:
    """Return 2ab / 2^16 toward zero, saturated."""
    return min(_toward_zero(a * b, 15), 2**15 - 1)


def saturated_16(value: int) -> int:
    """Return the nearest value of 16 bits."""
    return max(-(2**15), min(2**15 - 1, value))


def wrapped_16(value: int) -> int:
    """Return the low 16 bits, signed."""
    return _wrapped(value, 16)


def logistic(value: int) -> int:
    """Return 1 / (1 + exp(-x)) × 2^31 for x = value / 2^27."""
    if value == 0:
        return 1 << 30
    positive = _one_over_one_plus(_exp_of_negative(-abs(value), 4))
    return positive if value > 0 else _MAX - positive


def tanh(value: int) -> int:
    """Return tanh(x) × 2^31 for x = value / 2^27."""
    if value == 0:
        return 0
    half = _one_over_one_plus_raw(_exp_of_negative(-abs(value), 5))
    positive = _times_power(half - (1 << 29), 2)
    return positive if value > 0 else -positive


def _exp_of_negative(value: int, integer_bits: int) -> int:
    """exp(x) × 2^31 for x = value / 2^(31 - integer_bits), x ≤ 0."""
    if value == 0:
        return _MAX
    quarter = 1 << (29 - integer_bits)
    within = (value & (quarter - 1)) - quarter
    result = _exp_within_quarter(within << integer_bits)
    remainder = within - value
    for k, factor in enumerate(_EXP_OF_QUARTERS):
        if k - 2 < integer_bits and remainder & (quarter << k):
            result = doubling_high(result, factor)
    return result


def _exp_within_quarter(value: int) -> int:
    """exp(x) × 2^31 for x = value / 2^31 in [-1/4, 0): a Taylor series around -1/8."""
    x = value + (1 << 28)
    x2 = doubling_high(x, x)
    x3 = doubling_high(x2, x)
    x4_over_4 = divide_by_power(doubling_high(x2, x2), 2)
    rest = divide_by_power(doubling_high(x4_over_4 + x3, _ONE_THIRD) + x2, 1)
    return _EXP_MINUS_EIGHTH + doubling_high(_EXP_MINUS_EIGHTH, x + rest)


def _one_over_one_plus(value: int) -> int:
    return _times_power(_one_over_one_plus_raw(value), 1)


def _one_over_one_plus_raw(value: int) -> int:
    """1 / (1 + x) × 2^30 for x = value / 2^31 in [0, 1]: three steps of Newton and Raphson."""
    half = (value + _MAX + 1) >> 1
    x = _48_OVER_17 + doubling_high(half, _MINUS_32_OVER_17)
    for _ in range(3):
        error = (1 << 29) - doubling_high(half, x)
        x += _times_power(doubling_high(x, error), 2)
    return x


def _times_power(value: int, n: int) -> int:
    return max(_MIN, min(_MAX, value << n))


def _toward_zero(value: int, n: int) -> int:
    return abs(value) >> n if value >= 0 else -(abs(value) >> n)


def _wrapped(value: int, bits: int) -> int:
    half = 1 << (bits - 1)
    return (value + half) % (2 * half) - half

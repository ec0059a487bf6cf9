"""Windows of convolutions and pools are bounded and never lead to negative sizes."""

import pytest

from vae_runtime.graph.tensors import GraphError
from vae_runtime.graph.windows import check_windows

PLAIN = {"kernel_shape": [4, 4], "strides": [2, 2], "dilations": [1, 1], "pads": [1, 1, 1, 1]}


@pytest.mark.parametrize("operator", ["Conv", "ConvTranspose", "MaxPool"])
def test_valid_windows(operator):
    check_windows(operator, PLAIN)
    check_windows(operator, {"group": 1})
    check_windows(operator, {"pads": [0, 0, 0, 0]})


@pytest.mark.parametrize("operator", ["Conv", "ConvTranspose", "MaxPool"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pads", [1, -1, 1, 1]),
        ("pads", [1 << 31, 1, 1, 1]),
        ("strides", [0, 1]),
        ("dilations", [1, 2147483647]),
        ("kernel_shape", [1, 1 << 13]),
        ("kernel_shape", 3),
        ("output_shape", [1, 1 << 30]),
    ],
)
def test_windows_out_of_bounds(operator, name, value):
    with pytest.raises(GraphError, match=f"{name} of a {operator} is .*, expected"):
        check_windows(operator, PLAIN | {name: value})


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"pads": [2, 1, 2, 1]}, "removes more by its pads than its kernel adds"),
        ({"pads": [127, 1, 1, 1]}, "removes more by its pads than its kernel adds"),
        ({"pads": [1, 1]}, "pads of another length than its kernel"),
        ({"kernel_shape": [4]}, "pads of another length than its kernel"),
        ({"dilations": [1]}, "pads of another length than its kernel"),
    ],
)
def test_pads_of_a_transposed_convolution_are_bounded(change, rule):
    with pytest.raises(GraphError, match=rule):
        check_windows("ConvTranspose", PLAIN | change)
    check_windows("Conv", PLAIN | change)  # pads make the output of a plain convolution larger


def test_dilation_makes_a_kernel_larger():
    check_windows("ConvTranspose", PLAIN | {"dilations": [2, 2], "pads": [3, 3, 3, 3]})
    with pytest.raises(GraphError, match="removes more"):
        check_windows("ConvTranspose", PLAIN | {"dilations": [2, 2], "pads": [3, 3, 4, 3]})

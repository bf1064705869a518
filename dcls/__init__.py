"""Dilated Convolution with Learnable Spacings: exact, and fast on a CPU."""

from pathlib import Path

__version__ = "0.2.0"

# where file names ignore case, the published package installs into this folder, and each overwrites the other's files
if __name__ == "DCLS" or Path(__file__).with_name("construct").is_dir():
    raise ImportError(
        f"{Path(__file__).parent} holds both dcls-audio and the published package DCLS, which is one folder where file "
        "names ignore case; run `pip uninstall dcls dcls-audio`, then install one of them"
    )

from .base import DclsNd
from .choice import convolution_choices, forget_convolution_choices, use_convolution
from .construct import (
    ConstructKernel1d,
    ConstructKernel2_1d,
    ConstructKernel2d,
    ConstructKernel3_1d,
    ConstructKernel3d,
)
from .delays import Stream, whole_positions
from .elements import axis_of
from .functional import dcls_convolution
from .kernels import dense_kernel
from .layers import Dcls1d, Dcls2_1d, Dcls2d, Dcls2dK1d, Dcls3_1d, Dcls3d, _DclsN_Md
from .quick_backward import use_quick_backward
from .recorder import PositionRecorder
from .replace import fuse, replace_convolutions, replace_depthwise
from .training import clamp_positions, parameter_groups, position_statistics

_DclsNd = DclsNd  # its published name

__all__ = [
    "ConstructKernel1d",
    "ConstructKernel2_1d",
    "ConstructKernel2d",
    "ConstructKernel3_1d",
    "ConstructKernel3d",
    "Dcls1d",
    "Dcls2_1d",
    "Dcls2d",
    "Dcls2dK1d",
    "Dcls3_1d",
    "Dcls3d",
    "DclsNd",
    "PositionRecorder",
    "Stream",
    "_DclsN_Md",
    "_DclsNd",
    "axis_of",
    "clamp_positions",
    "convolution_choices",
    "dcls_convolution",
    "dense_kernel",
    "forget_convolution_choices",
    "fuse",
    "parameter_groups",
    "position_statistics",
    "replace_convolutions",
    "replace_depthwise",
    "use_convolution",
    "use_quick_backward",
    "whole_positions",
]

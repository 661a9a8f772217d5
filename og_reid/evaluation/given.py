"""Numbers as people give them: tensors, arrays of any layout, lists."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["given_tensor"]


def given_tensor(values: Any, name: str) -> Tensor:
    """What was given, as a tensor; of tensors and most arrays without a copy.

    Args:
        values: Tensor, array or (nested) list of real numbers.
        name: For messages.

    Raises:
        ValueError: It is none of these.
    """
    if not isinstance(values, Tensor):
        try:
            array = np.asarray(values)
            if array.dtype.kind not in "fiub":
                raise ValueError(f"it is of {array.dtype}")
            # Torch takes neither reversed arrays nor those of another byte order, and warns of
            # arrays that must not be written to.
            array = array.astype(array.dtype.newbyteorder("="), order="C", copy=False)
            values = torch.from_numpy(array if array.flags.writeable else array.copy())
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{name} must be a tensor, an array or a list of numbers; got "
                f"{type(values).__name__}: {error}"
            ) from error
    if values.is_complex():
        raise ValueError(f"{name} must hold real numbers; got {values.dtype}")
    return values

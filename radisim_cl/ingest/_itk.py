"""Volumes of ITK's formats, `.mha` and `.nrrd`, as nibabel has them. SimpleITK reads them, where it is installed."""

from __future__ import annotations

import math
from pathlib import Path

import nibabel as nib
import numpy as np

from radisim_cl.errors import InputError
from radisim_cl.ingest._protocol import UnusableError

ENDINGS = (".mha", ".nrrd")


def load(file: Path, gigabytes: float) -> nib.Nifti1Image:
    """A volume with its affine: ITK's axes rise to the patient's left and back, nibabel's to the right and front.

    Raises:
        InputError: SimpleITK is not installed.
        UnusableError: more than is read.
        RuntimeError: not of these formats, or shorter than it says.
    """
    try:
        import SimpleITK as sitk
    except ModuleNotFoundError:
        raise InputError(f"{file.suffix} files are read by SimpleITK; python -m pip install 'radisim-cl[itk]'") from None
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(file))
    reader.ReadImageInformation()
    if math.prod(reader.GetSize()) * 8 > gigabytes * 2**30:
        raise UnusableError(f"declares more than {gigabytes:g} GiB")
    image = reader.Execute()
    affine = np.eye(4)
    n = image.GetDimension()
    affine[:n, :n] = np.reshape(image.GetDirection(), (n, n)) * image.GetSpacing()
    affine[:n, 3] = image.GetOrigin()
    return nib.Nifti1Image(sitk.GetArrayFromImage(image).T, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)

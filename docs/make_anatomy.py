"""Makes counterbench/processes/anatomy.npz from the MNI ICBM152 template (2009a, symmetric) that the package `nilearn` carries.

    pip install nilearn nibabel
    python docs/make_anatomy.py

Prints the file's hash, which counterbench/processes/anatomy.py holds.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files

import nibabel
import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional

from counterbench.processes.anatomy import FILE, Anatomy, Grid, integrated

CORNER = np.array([-98, -134, -72])  # of the template, in mm to the right, to the front, up
SLAB = (-16, 50)  # heights of the fine maps, in mm


def read(name: str) -> np.ndarray:
    """One of the template's files, on the scale 0 to 1."""
    path = files("nilearn.datasets").joinpath(f"data/mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz")
    return np.asarray(nibabel.load(str(path)).dataobj).astype(np.float32) / 255


def lateral_ventricles(fluid: np.ndarray) -> np.ndarray:
    """The share of every voxel that is lateral ventricle: one connected body of fluid, cut off from the third ventricle and cisterns."""
    x, y, z = np.meshgrid(
        *[np.arange(size) + start for size, start in zip(fluid.shape, CORNER, strict=True)], indexing="ij", sparse=True
    )
    room = (np.abs(x) < 44) & (y > -62) & (y < 42) & (z > -4) & (z < 38)
    room = (
        room
        & ~((np.abs(x) < 9) & (y < -2) & (z < 12))
        & ~((np.abs(x) < 5) & (z < 2))
        & ~((np.abs(x) < 14) & (y < -25) & (z < 12))
    )
    bodies, count = ndimage.label((fluid > 0.35) & room)
    largest = bodies == 1 + np.argmax(ndimage.sum(bodies > 0, bodies, range(1, count + 1)))
    return fluid * (ndimage.binary_dilation(largest, iterations=2) & room)


def grid(maps: torch.Tensor, first: tuple[int, ...], last: tuple[int, ...], step: int) -> Grid:
    """Maps (C, z, y, x) between two corners in mm, averaged over cubes."""
    low = [f - o for f, o in zip(first, CORNER[::-1], strict=True)]
    high = [f - o for f, o in zip(last, CORNER[::-1], strict=True)]
    part = maps[:, low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    part = functional.avg_pool3d(part[None], step)[0]
    return Grid((255 * part).round() / 255, torch.tensor(first, dtype=torch.float32) + (step - 1) / 2, float(step))


def main() -> None:
    """Read, deform, integrate, write."""
    t1, grey, white = (read(name) for name in ("t1", "gm", "wm"))
    brain = t1 > 0
    grey, white = grey * brain, white * brain
    fluid = (brain - grey - white).clip(0, 1)
    ventricles = lateral_ventricles(fluid)
    maps = torch.from_numpy(np.stack([t1, grey, white, fluid, ventricles])).permute(0, 3, 2, 1).contiguous()
    whole = grid(maps, (-72, -112, -76), (86, 78, 76), 2)
    slab = grid(maps, (SLAB[0], -112, -76), (SLAB[1], 78, 76), 1)
    # Where a lesion may lie: white matter at some distance from the ventricles.
    deep = (
        (white > 0.9)
        & (ndimage.distance_transform_edt(ventricles < 0.5) < 22)
        & (ndimage.distance_transform_edt(ventricles < 0.5) > 5)
    )
    sites = (np.argwhere(deep)[:, ::-1] + CORNER[::-1]).astype(np.float32)
    sites = sites[(sites[:, 0] > 2) & (sites[:, 0] < 32)]
    sites = sites[np.random.default_rng(0).permutation(len(sites))[:2048]]
    empty = torch.zeros(0)
    anatomy = Anatomy(whole, slab, sites=torch.from_numpy(sites), brain=empty, ventricles=empty)
    tables = [integrated(anatomy, level) for level in (0, 1)]
    content = {"sites": sites.astype(np.int16)}
    for number, name in enumerate(("brain", "ventricles")):
        content[name] = torch.stack([table[number] for table in tables]).numpy()
    for name, maps_ in (("whole", whole), ("slab", slab)):
        content[name] = (255 * maps_.values).round().numpy().astype(np.uint8)
        content[f"{name}_origin"], content[f"{name}_step"] = maps_.origin.numpy(), np.float32(maps_.step)
    np.savez_compressed(FILE, **content)
    print(FILE.stat().st_size, hashlib.sha256(FILE.read_bytes()).hexdigest())


if __name__ == "__main__":
    main()

"""Samples to train on, in three splits.

    load_dataset("digits")          the digits that come with build-vae
    load_dataset("faces.npz")       .npz, .npy, IDX (also gzipped), or a folder of pictures
    load_dataset("sensors.csv")     .csv, .tsv or .parquet: vectors
    Dataset.from_arrays("x", x)     arrays that are already in memory

The file readers are in `vae_runtime.data`.
"""

from vae_builder.data.dataset import Dataset
from vae_builder.data.loading import load_dataset
from vae_builder.data.rows import Rows, Samples

__all__ = ["Dataset", "Rows", "Samples", "load_dataset"]

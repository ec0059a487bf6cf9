"""Data for a VAE: every source of samples ends in one `Dataset`.

    load_dataset("digits")          the digits that come with build-vae
    load_dataset("faces.npz")       .npz, .npy, IDX (also gzipped), or a folder of pictures
    load_dataset("sensors.csv")     .csv, .tsv or .parquet: vectors
    Dataset.from_arrays("x", x)     arrays that are in memory already
    load_array("new.npy")           one array of samples, to score or to reconstruct

Importing this package needs NumPy only; Pillow and Keras are imported where a source needs them.
"""

from vae_builder.data.dataset import Dataset
from vae_builder.data.rows import Rows, Samples
from vae_builder.data.sources import columns_of, is_pictures, load_array, load_dataset

__all__ = ["Dataset", "Rows", "Samples", "columns_of", "is_pictures", "load_array", "load_dataset"]

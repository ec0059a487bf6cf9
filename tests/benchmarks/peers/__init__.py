"""Other runtimes. Each has one function that takes a bundle and batches and returns losses.

`runtimes.py` has the Python runtimes, `web.py` and `web/` the JavaScript ones. build-vae does not
need them. `pip install ".[peers]"` and `npm install --no-save onnxruntime-web` install them.
"""

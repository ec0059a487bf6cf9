"""Other runtimes, each behind one function: a bundle and batches in, losses out.

`runtimes.py` holds those of Python, `web.py` and `web/` those of JavaScript. None of them is needed
by build-vae; `pip install ".[peers]"` and `npm install --no-save onnxruntime-web` bring them.
"""

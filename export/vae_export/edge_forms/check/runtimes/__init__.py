"""One module for each runtime.

    load(graph, folder)   return a function from inputs to outputs, both dicts of arrays by tensor
    version()             return the runtime's name and version

`graph` is a `worker.Graph`; `folder` is an empty one for the files that a converter writes.
"""

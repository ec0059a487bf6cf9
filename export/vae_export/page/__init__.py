"""A bundle as one HTML file that proves itself in the reader's browser, with no network.

    write.py             bundle -> page
    contents.py          what the page carries: the bundle's files, and facts about its making
    assembly.py          source/ and these contents -> one HTML text, with a policy for its scripts
    onnxruntime_web.py   the WebAssembly runtime from npm, checked against a digest
    source/              the page itself: plain HTML, CSS and JavaScript modules
"""

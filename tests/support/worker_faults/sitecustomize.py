"""Faults of worker processes, for tests that put this folder into PYTHONPATH.

Python imports this module at its start. `WORKER_FAULTS` holds rules `WHAT:TEXT:TIMES`: the first
TIMES times that any process opens a file whose path holds TEXT, it ends without a word (`die`), or
the disk is full (`full`). The folder `WORKER_FAULTS_FOLDER` counts the times.
"""

import errno
import os
import sys

if rules := [rule.split(":") for rule in os.environ.get("WORKER_FAULTS", "").split()]:
    folder = os.environ["WORKER_FAULTS_FOLDER"]

    def hook(event, args):
        if event == "open" and not str(args[0]).startswith(folder):
            for what, text, times in rules:
                if text in str(args[0]) and _is_due(text, int(times)):
                    if what == "die":
                        os._exit(7)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(args[0]))

    def _is_due(text, times):
        for i in range(times):
            name = f"{folder}/{text.strip('./').replace('/', '-')}-{i}"
            try:
                os.close(os.open(name, os.O_CREAT | os.O_EXCL))
                return True
            except FileExistsError:
                continue
        return False

    sys.addaudithook(hook)

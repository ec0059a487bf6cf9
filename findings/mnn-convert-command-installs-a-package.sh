#!/usr/bin/env bash
# MNN 3.6.1 (its Python package), seen 2026-11-28.
#
# The command `mnnconvert` converts a model, but before that it runs `pip install -U
# aliyun-log-python-sdk` in the environment that it finds, without asking. With that package, it then
# sends the sizes of the model, the arguments and an identifier of the machine to a log server (read in
# MNN/tools/utils/log.py and mnnconvert.py, not run here). Without a network both fail, and the
# conversion goes on. What helps: call the converter itself, `from _tools import mnnconvert`, which does
# neither.
#
# Output seen, with a `pip` first on the path that only prints its arguments:
#     the command: pip install -U aliyun-log-python-sdk
#     the function:
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check MNN==3.6.1 onnx==1.23.2 numpy==2.4.6
mkdir "$work/bin"
printf '#!/bin/sh\necho "pip $*" >>"%s"\nexit 1\n' "$work/calls" >"$work/bin/pip"
chmod +x "$work/bin/pip"
cat >"$work/model.py" <<'PYTHON'
from onnx import TensorProto, helper, save

x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy")
graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "graph", [x], [y])
save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), "a.onnx")
PYTHON
cd "$work"
"$work/venv/bin/python" model.py
words=(-f ONNX --modelFile a.onnx --MNNModel a.mnn --bizCode x)
for way in command function; do
    : >calls
    rm -f a.mnn
    if [ "$way" = command ]; then
        PATH="$work/bin:$PATH" "$work/venv/bin/mnnconvert" "${words[@]}" >log 2>&1
    else
        PATH="$work/bin:$PATH" "$work/venv/bin/python" -c \
            "from _tools import mnnconvert; mnnconvert(['mnnconvert', *'${words[*]}'.split()])" >log 2>&1
    fi
    [ -s a.mnn ] || { cat log >&2; exit 1; }
    echo "the $way: $(sort -u calls)" | sed 's/ $//'
done | tee seen
[ "$(cat seen)" = "the command: pip install -U aliyun-log-python-sdk
the function:" ]

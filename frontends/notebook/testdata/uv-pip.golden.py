# /// script
# dependencies = [
#   "torch==2.4.1",
#   "scipy==1.14.1; python_version >= \"3.10\"",
#   "einops @ https://h.example/einops-0.8.0-py3-none-any.whl",
# ]
#
# [tool.uv]
# prerelease = "allow"
# find-links = ["https://h.example/wheels"]
#
# [[tool.uv.index]]
# url = "https://download.pytorch.org/whl/cpu"
# default = true
#
# [[tool.uv.index]]
# url = "https://pypi.org/simple"
# ///

# %% cell 1
# %uv pip install --index-url https://download.pytorch.org/whl/cpu --extra-index-url=https://pypi.org/simple torch==2.4.1 \
#     'scipy==1.14.1; python_version >= "3.10"'

# %% cell 2
# !{sys.executable} -m pip install -qU --pre torch==2.4.1 -f https://h.example/wheels "einops @ https://h.example/einops-0.8.0-py3-none-any.whl"
# %pip list
# !python3 -m pip --version

# %% cell 3
import torch

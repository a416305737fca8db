# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["rich"]
#
# [tool.uv]
# exclude-newer = "2026-01-01T00:00:00Z"
#
# [tool.ibuild]
# apt-packages = ["git"]
# accelerator = "l4"
# platforms = ["linux/amd64", "linux/arm64"]
# name = "tooled"
# env = { MODE = "train", EPOCHS = 3 }
# secrets = [{ id = "HF_TOKEN", for = ["script"] }]
#
# [[tool.ibuild.layers]]
# run = "echo after the packages"
#
# [tool.ibuild.labels]
# "org.opencontainers.image.title" = "tooled"
# ///
print("hello")

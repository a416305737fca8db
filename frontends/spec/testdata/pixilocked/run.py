# /// script
# [tool.pixi.project]
# channels = ["https://conda.example.com/c"]
# platforms = ["linux-64", "linux-aarch64"]
# [tool.pixi.dependencies]
# ibuild-hello = "1.*"
# ///

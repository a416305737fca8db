# /// script
# requires-python = ">=3.11"
# dependencies = ["httpx[http2]>=0.28", "colorama ; sys_platform == 'win32'", "x @ git+https://example.com/x.git@v1#subdirectory=py", "y @ https://example.com/y-1-py3-none-any.whl", "Given.Name"]
#
# [tool.pixi.workspace]
# channels = ["https://conda.example.com/c", "conda-forge"]
#
# [tool.pixi.dependencies]
# gdal = "*"
#
# [tool.pixi.pypi-dependencies]
# given-name = { version = ">=2", index = "https://pypi.example.com/simple" }
#
# [tool.pixi.target.linux-64.dependencies]
# mkl = "*"
# ///
print("hello")

# /// script
# requires-python = ">=3.11"
# dependencies = ["six>=1", "colorama; sys_platform=='win32'"]
# [tool.uv]
# constraint-dependencies = ["idna<4"]
# ///
print()

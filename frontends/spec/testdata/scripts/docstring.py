"""A tool that writes scripts.

    # /// script
    # (indented: no header)
    # ///
"""

# /// pyproject
# [tool.ruff]
# line-length = 120
# ///

# /// script
# dependencies = ["jinja2"]
# [tool.notes]
# example = '''
# ///
# /// <- not the end
# '''
# ///

TEMPLATE = """
# /// other
# x = 1
# ///
"""

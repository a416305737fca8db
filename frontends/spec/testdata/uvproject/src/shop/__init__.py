from core import x

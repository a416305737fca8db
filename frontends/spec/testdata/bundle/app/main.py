import lib.a

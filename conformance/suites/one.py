#!/usr/bin/python3
"""one.py FILE [TEST]: names the tests of a file of crun's suite, or runs one: a test that hangs stops no other."""

import importlib
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(sys.argv[1])))
tests = importlib.import_module(os.path.basename(sys.argv[1]).removesuffix(".py")).all_tests
if len(sys.argv) > 2:
    importlib.import_module("tests_utils").tests_main({sys.argv[2]: tests[sys.argv[2]]})
else:
    print("\n".join(tests))

"""EnvPool needs a newer Python than we do; where it is not installed its test is not collected."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("envpool") else ["test_envpool.py"]

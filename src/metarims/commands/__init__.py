"""The commands of ``metarims``; the fields of their dataclasses are the flags.

JAX is imported only by commands that compute, so that help and error messages appear at once.
"""

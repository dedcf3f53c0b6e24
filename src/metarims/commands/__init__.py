"""The commands: ``metarims train``, ``evaluate``, ``view``, ``plot``, ``envs``, ``params``, ``study``, ``doctor``,
``demo``.

Their fields are the flags. JAX is imported only by the commands that compute, so that help and mistakes answer at once.
"""

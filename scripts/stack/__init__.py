"""The process set of one machine: how `make up` starts, watches and stops it.

Knows commands, files and probes; of Django and the engine it only calls what their command lines offer.
"""

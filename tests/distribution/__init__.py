"""The OCI Distribution Specification 1.1, end-point by end-point, whoever serves it.

Each workflow of the specification is a class; what inherits it gives the fixtures ``client``, ``path`` (of a
repository nobody has pushed to) and ``sibling`` (another such, of the same owner). Numbers of end-points are
the specification's.
"""

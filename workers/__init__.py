"""What runs on the nodes, and the words nodes and platform share."""

__version__ = "0.1.0"

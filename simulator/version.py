"""The version of what was measured: part of every result."""

VERSION = "0.1.0"

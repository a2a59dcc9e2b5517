"""The lessons of notebooks/teaching: small worlds to experiment in, pictures, and checks that help.

One file a lesson. A check prints what is right about an answer, or raises `NotYet`, whose message says what is missing.
"""

from gaa_core.lessons.checking import NotYet

__all__ = ["NotYet"]

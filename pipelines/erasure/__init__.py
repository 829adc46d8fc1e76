"""Erasure of users: out of every table, old version, log and document, with a proof."""

from pipelines.erasure.run import EraseRequest, erase_users

__all__ = ["EraseRequest", "erase_users"]

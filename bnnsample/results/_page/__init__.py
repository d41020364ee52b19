"""The report as one HTML page that needs nothing beside it."""

from bnnsample.results._page._page import page as page

__all__ = ["page"]

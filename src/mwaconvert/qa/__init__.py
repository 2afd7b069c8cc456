"""A picture of the converted data, gathered while they are written."""

from mwaconvert.qa.collector import QaCollector

__all__ = ["QaCollector"]

"""Archive workflows of ALMA and the VLA: identifiers, requests, status, packages, quality.

Functions that take data and give data: no database, no queue, no network. A workflow step is one call.
"""

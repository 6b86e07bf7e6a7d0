"""Report: one saved run as a page that holds everything it shows. The network is priced, and not run again.

The page has one style and one script, both inline and named by their hashes in its Content-Security-Policy, which
allows nothing else: no request leaves the reader's machine, and no text of the run can act.
"""

from __future__ import annotations

from snngen.report.page import as_html
from snngen.report.subject import Subject

__all__ = ["Subject", "as_html"]

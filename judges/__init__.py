"""Answers become verdicts, verdicts become a report."""

"""The panels of pages and dashboards: one list, drawn from rows."""

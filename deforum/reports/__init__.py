"""Reports on settings without rendering: comparison, tables, conversion."""

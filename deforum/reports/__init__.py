"""Settings looked at without rendering: compared, tabulated, converted."""

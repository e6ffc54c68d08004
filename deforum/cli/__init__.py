"""The command line: parsing arguments into jobs, running them, exit statuses."""

"""The command line: words to jobs, jobs to an exit status."""

"""Several workers: a plan of tasks for processes here, Ray or Slurm, or written for a farm (Open Job Description)."""

"""Looking at the jobs that the service has, with as few requests as will do."""

module localkubernetes/pods

go 1.25

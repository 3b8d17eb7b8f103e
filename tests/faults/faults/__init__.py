"""Three chatd processes under the faults of processes, networks and disks, while `chatctl verify` judges."""

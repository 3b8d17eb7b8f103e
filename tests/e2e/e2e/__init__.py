"""The end-to-end test: a chat cluster on a real Kubernetes, with faults, judged by what its clients were promised."""

"""One build function per Kubernetes kind: plain manifests, as the API server stores them."""

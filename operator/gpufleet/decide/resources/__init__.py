"""One build function per Kubernetes kind: plain manifests, in the form in which the API server stores them."""

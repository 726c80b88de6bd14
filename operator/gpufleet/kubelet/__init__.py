"""The kubelet's gRPC services, as those who stand on a node speak them."""

"""Real Kubernetes nodes without a container engine.

One node is a network, a mount and a UTS namespace on this machine, and in them a real kubelet,
containerd, runc and kube-proxy. `local_node` is the way in; the other modules are its steps, in
the order of `up`: layout → links → namespaces → cgroups → template → config → daemons; `teardown`
undoes them all, from the names alone.
"""

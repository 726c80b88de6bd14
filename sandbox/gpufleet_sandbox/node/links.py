"""The node's network: a namespace, a cable to the sandbox's bridge, and routes to its peers.

A node has no default route. What is meant for no node ends here, and never leaves the machine.
"""

from __future__ import annotations

import pathlib

from gpufleet_sandbox.node import commands, layout


def create(node: layout.NodeLayout) -> None:
    """Makes namespace, cable and routes; the sandbox's bridge must be there. Raises CommandError."""
    commands.run(["ip", "netns", "add", node.netns])
    cable = ["ip", "link", "add", node.link, "type", "veth", "peer", "name", "eth0", "netns", node.netns]
    commands.run(cable)
    commands.run(["ip", "link", "set", node.link, "master", node.instance.bridge, "up"])
    commands.run(["ip", "-netns", node.netns, "-batch", "-"], stdin="\n".join(plan_inside(node)))
    commands.run(["ip", "route", "replace", node.pod_cidr, "via", node.ip])
    # /proc/sys/net is that of the network namespace of whoever opens it.
    forward = ["nsenter", f"--net={node.netns_path}", "sysctl", "-qw", "net.ipv4.ip_forward=1"]
    commands.run(forward)


def remove(node: layout.NodeLayout) -> None:
    """Removes what `create` made, also where it was cut short."""
    if has_link(node):
        commands.attempt(["ip", "link", "delete", node.link])
    commands.attempt(["ip", "route", "delete", node.pod_cidr, "via", node.ip])
    if node.netns_path.exists():
        commands.run(["ip", "netns", "delete", node.netns])


def set_link(node: layout.NodeLayout, *, up: bool) -> None:
    """Plugs the node's cable in or pulls it out. Raises CommandError."""
    commands.run(["ip", "link", "set", node.link, "up" if up else "down"])


def has_link(node: layout.NodeLayout) -> bool:
    return pathlib.Path("/sys/class/net", node.link).exists()


def plan_inside(node: layout.NodeLayout) -> list[str]:
    """The lines for `ip -batch` inside the namespace."""
    return [
        "link set lo up",
        f"address add {node.ip}/24 dev eth0",
        "link set eth0 up",
        # Service addresses are rewritten on output, and a packet without a route never gets that far.
        f"route add {node.instance.service_cidr} via {node.instance.bridge_ip}",
        *(f"route add {cidr} via {gateway}" for cidr, gateway in node.plan_peer_routes()),
    ]

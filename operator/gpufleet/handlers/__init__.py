"""Process life: kopf, leader election, probes, and the composition of the loops. Only here is kopf."""

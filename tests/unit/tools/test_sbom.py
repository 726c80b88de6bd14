"""The bill of materials says of the image what its lock file says."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).parents[3]


def test_the_bill_lists_every_locked_package_with_its_hashes(tmp_path: pathlib.Path) -> None:
    written = tmp_path / "bill.json"
    planned = subprocess.run(
        ["make", "--dry-run", "sbom"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    [command] = re.findall(r"\S*cyclonedx-py .*", planned.replace("\\\n", " "))
    # Most of its time is the check of its own schema.
    argv = [*command.replace("dist/gpufleet.cdx.json", str(written)).split(), "--no-validate"]
    subprocess.run(argv, cwd=ROOT, check=True, capture_output=True)
    bill = json.loads(written.read_text())
    lock = (ROOT / "requirements.txt").read_text()
    assert bill["metadata"]["component"]["name"] == "gpufleet"
    assert {f"{one['name']}=={one['version']}" for one in bill["components"]} == set(
        re.findall(r"^([\w.\-]+==\S+)", lock, re.M)
    )
    hashes = {
        digest["content"]
        for one in bill["components"]
        for source in one["externalReferences"]
        for digest in source["hashes"]
    }
    assert hashes == set(re.findall(r"sha256:([0-9a-f]{64})", lock))

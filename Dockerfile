# The operator, the model agent and the simulated GPUs: one image, three subcommands of `gpufleet`.
# The sandbox makes the same image without an engine: sandbox/gpufleet_sandbox/images/recipes.py.
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
RUN python3 -m venv /opt/gpufleet
COPY requirements.txt /tmp/requirements.txt
RUN /opt/gpufleet/bin/python -m pip install --no-cache-dir --disable-pip-version-check --no-deps \
      --only-binary=:all: --require-hashes -r /tmp/requirements.txt
COPY operator/gpufleet /tmp/gpufleet
RUN site=$(/opt/gpufleet/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
 && cp -r /tmp/gpufleet "$site/gpufleet" \
 && /opt/gpufleet/bin/python -m compileall -q "$site/gpufleet" \
 && printf '#!/opt/gpufleet/bin/python\nfrom gpufleet.cli.main import main\n\nmain()\n' > /opt/gpufleet/bin/gpufleet \
 && chmod 755 /opt/gpufleet/bin/gpufleet

FROM ${BASE_IMAGE}
COPY --from=build /opt/gpufleet /opt/gpufleet
LABEL org.opencontainers.image.title=gpufleet \
      org.opencontainers.image.description="A Kubernetes operator for GPU inference and training fleets" \
      org.opencontainers.image.licenses=Apache-2.0
ENV PATH=/opt/gpufleet/bin:$PATH PYTHONUNBUFFERED=1
# A number, because the kubelet cannot tell from a name that it is not root.
USER 65532
ENTRYPOINT ["gpufleet"]

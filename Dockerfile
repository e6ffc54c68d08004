# The program with the page and the API of `serve`; docs/containers.md tells how to build and run it.
#
#   docker build -t deforum .                              for processors
#   docker build -t deforum:cuda --build-arg VARIANT=cuda .   for NVIDIA cards

FROM python:3.12-slim-bookworm AS builder
ARG VARIANT=cpu
ARG EXTRAS=serve,cluster,raft,upscale
WORKDIR /src
COPY pyproject.toml setup.py MANIFEST.in README.md LICENSE ./
COPY deforum deforum
COPY schedules schedules
COPY examples examples
COPY docker/install.sh docker/install.sh
RUN sh docker/install.sh /opt/deforum "$VARIANT" "$EXTRAS"

FROM python:3.12-slim-bookworm
RUN useradd --create-home --uid 10001 --shell /usr/sbin/nologin deforum \
    && mkdir -p /models /runs \
    && chown deforum:deforum /models /runs
COPY --from=builder /opt/deforum /opt/deforum
ENV PATH=/opt/deforum/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DEFORUM_MODELS_DIR=/models \
    HF_HOME=/models/hub \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001
WORKDIR /runs
VOLUME ["/models", "/runs"]
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/health', timeout=4)"]
ENTRYPOINT ["deforum"]
CMD ["serve", "--output", "/runs", "--host", "0.0.0.0", "--port", "7860"]

# The service and Ray's nodes in one image: docker build -t mlsys . && docker run -p 8000:8000 -e MLSYS_KEY=… mlsys
# A GPU needs the host's driver and NVIDIA's container toolkit alone: docker run --gpus all … device=cuda
FROM python:3.11-slim-bookworm

# triton compiles a small piece of C as it starts. Its version is the distribution's:
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --no-install-recommends -y gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/mlsys
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY conf conf
COPY mlsys mlsys
RUN pip install --no-cache-dir -c constraints.txt ".[serving,ray]" \
    && useradd --create-home --uid 1000 mlsys
USER 1000
WORKDIR /home/mlsys
ENV RAY_USAGE_STATS_ENABLED=0 MLSYS_OUTPUTS=/home/mlsys/outputs MLSYS_CACHE=/home/mlsys/models

EXPOSE 8000
ENTRYPOINT ["mlsys"]
CMD ["server=batch", "server.host=0.0.0.0", "server.port=8000", "server.api_key=env:MLSYS_KEY", "loadtest=none", "tracking=off"]

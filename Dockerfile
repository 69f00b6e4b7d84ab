# syntax=docker/dockerfile:1
# Two images from one file: `platform` (web, observer; unprivileged) and `node` (worker, agent; root).
FROM debian:12-slim AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/srv/slipway:/srv/slipway/platform \
    PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --system --gid 900 slipway \
 && useradd --system --uid 900 --gid 900 --home-dir /nonexistent --shell /usr/sbin/nologin slipway \
 && install -d -m 0711 /var/lib/slipway /run/slipway \
 && install -d -m 0700 -o slipway -g slipway /var/lib/slipway/platform
WORKDIR /srv/slipway

FROM base AS python-packages
RUN apt-get update && apt-get install -y --no-install-recommends python3-venv
COPY requirements/run.txt requirements/run.txt
RUN python3 -m venv /opt/venv \
 && /opt/venv/bin/pip install --no-cache-dir --require-hashes --requirement requirements/run.txt

FROM base AS frontend
RUN apt-get update && apt-get install -y --no-install-recommends nodejs npm
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY scripts/vendor.py scripts/vendor.py
COPY static static
RUN python3 scripts/vendor.py

FROM base AS platform
COPY --from=python-packages /opt/venv /opt/venv
COPY manage.py ./
COPY platform platform
COPY templates templates
COPY workers workers
COPY --from=frontend /srv/slipway/static static
USER slipway
EXPOSE 8000
CMD ["python", "-m", "uvicorn", "slipway.asgi:application", "--http", "slipway.serving:Protocol", \
     "--host", "0.0.0.0", "--port", "8000"]

FROM base AS node
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
    crun runc conmon catatonit aardvark-dns nftables iproute2 libseccomp2 busybox-static mmdebstrap git \
 && rm -rf /var/lib/apt/lists/*
COPY --from=python-packages /opt/venv /opt/venv
COPY workers workers
CMD ["python", "-m", "workers.agent"]

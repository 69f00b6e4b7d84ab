# A Python command with pip, from pyproject.toml; port None
# syntax=docker/dockerfile:1

# PYTHON is the version of Python to run on.
ARG PYTHON=3.12

FROM python:${PYTHON}-slim

# Output appears at once; no bytecode is written.
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1

WORKDIR /app

COPY . .
RUN --mount=type=cache,target=/root/.cache pip install .

# Not root.
RUN useradd --system --uid 10001 app
USER app

CMD ["serve"]

# FastAPI with uv, from pyproject.toml, uv.lock, src/main.py; port 8000
# syntax=docker/dockerfile:1

# PYTHON is the version of Python to run on.
ARG PYTHON=3.12

FROM python:${PYTHON}-slim

# Output appears at once; no bytecode is written.
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PATH=/app/.venv/bin:$PATH

WORKDIR /app

# Dependencies first: this layer is reused until they change.
COPY pyproject.toml uv.lock ./
RUN --mount=type=cache,target=/root/.cache pip install uv \
    && uv sync --frozen --no-dev --no-install-project

# What serves the program.
RUN --mount=type=cache,target=/root/.cache pip install uvicorn

COPY . .

# Not root.
RUN useradd --system --uid 10001 app
USER app

EXPOSE 8000

CMD ["uvicorn", "--app-dir", "src", "--host", "0.0.0.0", "--port", "8000", "main:service"]

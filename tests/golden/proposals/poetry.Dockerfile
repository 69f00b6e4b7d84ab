# A Python package with Poetry, from pyproject.toml, poetry.lock; port None
# syntax=docker/dockerfile:1

# PYTHON is the version of Python to run on.
ARG PYTHON=3.13

FROM python:${PYTHON}-slim

# Output appears at once; no bytecode is written.
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1

WORKDIR /app

# Dependencies first: this layer is reused until they change.
COPY pyproject.toml poetry.lock ./
RUN --mount=type=cache,target=/root/.cache pip install poetry \
    && POETRY_VIRTUALENVS_CREATE=false poetry install --only main --no-root --no-interaction

COPY . .

# Not root.
RUN useradd --system --uid 10001 app
USER app

CMD ["python", "-m", "tool"]

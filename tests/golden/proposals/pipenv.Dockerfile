# A Python script with Pipenv, from Pipfile, main.py; port None
# syntax=docker/dockerfile:1

# PYTHON is the version of Python to run on.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim

# Output appears at once; no bytecode is written.
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1

WORKDIR /app

# Dependencies first: this layer is reused until they change.
COPY Pipfile ./
RUN --mount=type=cache,target=/root/.cache pip install pipenv \
    && pipenv install --system --skip-lock

COPY . .

# Not root.
RUN useradd --system --uid 10001 app
USER app

CMD ["python", "main.py"]

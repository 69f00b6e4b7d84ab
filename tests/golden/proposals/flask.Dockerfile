# Flask with pip, from requirements.txt, app.py; port 8000
# syntax=docker/dockerfile:1

# PYTHON is the version of Python to run on.
ARG PYTHON=3.12

FROM python:${PYTHON}-slim

# Output appears at once; no bytecode is written.
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1

WORKDIR /app

# Dependencies first: this layer is reused until they change.
COPY requirements.txt ./
RUN --mount=type=cache,target=/root/.cache pip install -r requirements.txt

COPY . .

# Not root.
RUN useradd --system --uid 10001 app
USER app

EXPOSE 8000

CMD ["gunicorn", "--bind", "0.0.0.0:8000", "app:app"]

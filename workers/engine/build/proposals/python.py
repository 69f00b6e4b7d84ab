"""Python: pip, Pipenv, Poetry, uv; Django, Flask, FastAPI or a script. Pure."""

from __future__ import annotations

import re

from workers.engine.build.proposals.project import (
    EVERYWHERE,
    FIRST,
    HEAD,
    Project,
    Proposal,
    lines,
    section,
    version,
    words,
)

DEFAULT = "3.12"
PORT = 8000
_SCRIPTS = (
    *("app.py", "main.py", "wsgi.py", "asgi.py", "server.py"),
    *("src/app.py", "src/main.py", "app/main.py", "app/app.py"),
)
_MARKS = ("requirements.txt", "pyproject.toml", "Pipfile", "setup.py", "manage.py")
_LOCKS = ("Pipfile.lock", "poetry.lock", "uv.lock")
WANTED = ("requirements.txt", "pyproject.toml", "Pipfile", ".python-version", "runtime.txt", *_SCRIPTS)
IGNORE = """\
.git
.venv
venv
**/__pycache__
**/*.pyc
.pytest_cache
.env
*.sqlite3
Dockerfile
.dockerignore
"""
_CACHE = "RUN --mount=type=cache,target=/root/.cache"


def propose(project: Project) -> Proposal | None:
    if not project.has(*_MARKS) and not project.matching(r"(?:app|main)\.py"):
        return None
    installer, install, path = _installation(project)
    framework, command, extra, port = _program(project)
    server = f"# What serves the program.\n{_CACHE} pip install {extra}" if extra else ""
    return Proposal(
        "python",
        f"{framework} with {installer}",
        tuple(name for name in (*_MARKS, *_LOCKS, *_SCRIPTS) if project.has(name)),
        lines(
            HEAD,
            f"# PYTHON is the version of Python to run on.\nARG PYTHON={_python(project)}",
            "FROM python:${PYTHON}-slim",
            "# Output appears at once; no bytecode is written.\n"
            f"ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1{path}",
            "WORKDIR /app",
            install,
            server,
            f"COPY . .{_own_package(project)}",
            "# Not root.\nRUN useradd --system --uid 10001 app\nUSER app",
            f"EXPOSE {port}" if port else "",
            f"{_hint(framework)}CMD {command}",
        ),
        IGNORE,
        port,
    )


def _python(project: Project) -> str:
    asked = project.text(".python-version") or project.text("runtime.txt")
    if asked:
        return version(asked, DEFAULT, r"3\.\d+")
    wanted = section(project.toml("pyproject.toml"), "project", "requires-python") or section(
        project.toml("Pipfile"), "requires", "python_version"
    )
    found = version(str(wanted), DEFAULT, r"3\.\d+")
    at_least = ">" in str(wanted) or "^" in str(wanted)
    return max(found, DEFAULT, key=lambda each: int(each.partition(".")[2])) if at_least else found


def _installation(project: Project) -> tuple[str, str, str]:
    """What installs, the instructions for it, and what the environment needs."""
    if project.has("uv.lock"):
        text = (
            f"{FIRST}\nCOPY pyproject.toml uv.lock ./\n{_CACHE} pip install uv \\\n"
            "    && uv sync --frozen --no-dev --no-install-project"
        )
        return "uv", text, " PATH=/app/.venv/bin:$PATH"
    if project.has("poetry.lock") or section(project.toml("pyproject.toml"), "tool", "poetry"):
        lock = " poetry.lock" if project.has("poetry.lock") else ""
        text = (
            f"{FIRST}\nCOPY pyproject.toml{lock} ./\n{_CACHE} pip install poetry \\\n"
            "    && POETRY_VIRTUALENVS_CREATE=false poetry install --only main --no-root --no-interaction"
        )
        return "Poetry", text, ""
    if project.has("Pipfile"):
        locked = project.has("Pipfile.lock")
        lock, deploy = (" Pipfile.lock", "--deploy") if locked else ("", "--skip-lock")
        text = (
            f"{FIRST}\nCOPY Pipfile{lock} ./\n{_CACHE} pip install pipenv \\\n"
            f"    && pipenv install --system {deploy}"
        )
        return "Pipenv", text, ""
    if project.has("requirements.txt"):
        text = f"{FIRST}\nCOPY requirements.txt ./\n{_CACHE} pip install -r requirements.txt"
        return "pip", text, ""
    return "pip", "", ""


def _own_package(project: Project) -> str:
    """A project that is a package itself, and has no other list of what it needs."""
    if project.has("requirements.txt", "Pipfile", "poetry.lock", "uv.lock"):
        return ""
    if (
        project.has("setup.py")
        or "build-system" in project.toml("pyproject.toml")
        or section(project.toml("pyproject.toml"), "project")
    ):
        return f"\n{_CACHE} pip install ."
    return ""


def _program(project: Project) -> tuple[str, str, str, int | None]:
    """Its name, its command in JSON, what has to be installed for it, its port."""
    bind = f"{EVERYWHERE}:{PORT}"
    needs = _requirements(project)
    if project.has("manage.py"):
        module = next(
            (name[: -len("/wsgi.py")].replace("/", ".") for name in project.matching(r"[^/]+/wsgi\.py")), None
        )
        if module is None:
            return "Django", words("python", "manage.py", "runserver", bind), "", PORT
        command = words("gunicorn", "--bind", bind, f"{module}.wsgi")
        return "Django", command, "" if "gunicorn" in needs else "gunicorn", PORT
    for name in _SCRIPTS:
        directory = "src" if name.startswith("src/") else ""
        module = name.removesuffix(".py").removeprefix("src/").replace("/", ".")
        if variable := _made(project.text(name), "fastapi", "FastAPI"):
            where = ["--app-dir", directory] if directory else []
            listen = ["--host", EVERYWHERE, "--port", str(PORT)]
            command = words("uvicorn", *where, *listen, f"{module}:{variable}")
            return "FastAPI", command, "" if "uvicorn" in needs else "uvicorn", PORT
        if variable := _made(project.text(name), "flask", "Flask"):
            where = ["--chdir", directory] if directory else []
            command = words("gunicorn", *where, "--bind", bind, f"{module}:{variable}")
            return "Flask", command, "" if "gunicorn" in needs else "gunicorn", PORT
    return _script(project)


def _made(text: str, module: str, kind: str) -> str:
    """The variable an application is put in."""
    found = re.search(rf"^(\w+)[ \t]*(?::[^=\n]+)?=[ \t]*(?:{module}\.)?{kind}\(", text, re.MULTILINE)
    return found[1] if found else ""


def _script(project: Project) -> tuple[str, str, str, int | None]:
    scripts = section(project.toml("pyproject.toml"), "project", "scripts")
    if isinstance(scripts, dict) and scripts:
        return "A Python command", words(min(scripts)), "", None
    package = next(iter(project.matching(r"(?:src/)?\w+/__main__\.py")), None)
    if package:
        name = package.removesuffix("/__main__.py").removeprefix("src/")
        return "A Python package", words("python", "-m", name), "", None
    script = project.first(_SCRIPTS) or next(iter(project.matching(r"\w+\.py")), "main.py")
    return "A Python script", words("python", script), "", None


def _requirements(project: Project) -> str:
    names = ("requirements.txt", "pyproject.toml", "Pipfile")
    return "\n".join(project.text(name) for name in names).lower()


def _hint(framework: str) -> str:
    if framework == "Django":
        return "# Migrations are not run here: run `python manage.py migrate` once per release.\n"
    return ""

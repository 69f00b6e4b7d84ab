"""Pages as they are, served as files. Pure."""

from __future__ import annotations

from workers.engine.build.proposals.project import HEAD, Project, Proposal, lines

SERVER = "nginx:stable-alpine"
SERVER_PORT = 80
PAGES = "/usr/share/nginx/html/"
"""The directory the server shows."""
IGNORE = ".git\nDockerfile\n.dockerignore\n*.md\n"


def propose(project: Project) -> Proposal | None:
    index = project.first(
        ("index.html", "public/index.html", "dist/index.html", "site/index.html", "docs/index.html")
    )
    if index is None:
        return None
    directory = index.removesuffix("index.html").rstrip("/") or "."
    return Proposal(
        "static",
        "Pages as they are",
        (index,),
        lines(
            HEAD,
            f"FROM {SERVER}",
            f"COPY {directory} {PAGES}",
            f"EXPOSE {SERVER_PORT}",
        ),
        IGNORE,
        SERVER_PORT,
    )

"""Go: one program, alone in its image. Pure."""

from __future__ import annotations

from workers.engine.build.proposals.project import (
    FIRST,
    HEAD,
    Project,
    Proposal,
    lines,
    version,
    words,
)

DEFAULT = "1.23"
PORT = 8080
WANTED = ("go.mod", "main.go")
IGNORE = ".git\n**/*_test.go\nDockerfile\n.dockerignore\n"


def propose(project: Project) -> Proposal | None:
    if not project.has("go.mod"):
        return None
    package = _package(project)
    sums = " go.sum" if project.has("go.sum") else ""
    port = PORT if 'net/http"' in project.text("main.go") else None
    return Proposal(
        "go",
        "A Go program",
        tuple(name for name in ("go.mod", "go.sum", "main.go") if project.has(name)),
        lines(
            HEAD,
            f"# GO is the version of Go to build with.\nARG GO={_go(project)}",
            "FROM golang:${GO} AS build",
            "WORKDIR /src",
            f"{FIRST}\nCOPY go.mod{sums} ./\nRUN --mount=type=cache,target=/go/pkg/mod go mod download",
            "COPY . .",
            "# Without cgo the program needs nothing else to run.\n"
            "RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \\\n"
            f"    CGO_ENABLED=0 go build -trimpath -ldflags=-s -o /out/app {package}",
            "FROM scratch\n"
            "COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/\n"
            "COPY --from=build /out/app /app",
            "# Not root.\nUSER 65534:65534",
            f"EXPOSE {port}" if port else "",
            f"ENTRYPOINT {words('/app')}",
        ),
        IGNORE,
        port,
    )


def _go(project: Project) -> str:
    for line in project.text("go.mod").splitlines():
        if line.startswith("go "):
            return version(line, DEFAULT)
    return DEFAULT


def _package(project: Project) -> str:
    if project.has("main.go"):
        return "."
    below = project.matching(r"cmd/[^/]+/main\.go")
    return f"./{below[0].removesuffix('/main.go')}" if below else "."

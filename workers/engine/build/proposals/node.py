"""Node.js: npm, Yarn, pnpm; a server, or pages that are built and served as files. Pure."""

from __future__ import annotations

import re

from workers.engine.build.proposals.project import (
    FIRST,
    HEAD,
    Project,
    Proposal,
    lines,
    section,
    version,
    words,
)
from workers.engine.build.proposals.static import PAGES, SERVER, SERVER_PORT

DEFAULT = "22"
PORT = 3000
WANTED = ("package.json", ".nvmrc", ".node-version")
IGNORE = ".git\nnode_modules\nnpm-debug.log*\n.env\n.env.*\ncoverage\nDockerfile\n.dockerignore\n"
_LOCKS = ("package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml")
_ENTRIES = (
    "server.js",
    "index.js",
    "app.js",
    "main.js",
    "src/index.js",
    "src/server.js",
    "server.mjs",
    "index.mjs",
)
_PAGES = {
    "vite": "dist",
    "@vue/cli-service": "dist",
    "react-scripts": "build",
    "parcel": "dist",
    "gatsby": "public",
    "@11ty/eleventy": "_site",
    "astro": "dist",
}
"""What builds pages, and where it leaves them."""


def propose(project: Project) -> Proposal | None:
    if not project.has("package.json"):
        return None
    package = project.json("package.json")
    named = section(package, "scripts")
    every = named.items() if isinstance(named, dict) else ()
    scripts = {name: text for name, text in every if isinstance(text, str)}
    manager, install, run = _manager(project)
    pages = _pages(package, scripts)
    head = lines(
        HEAD,
        f"# NODE is the version of Node.js to run on.\nARG NODE={_node(project)}",
        f"FROM node:${{NODE}}-slim{' AS build' if pages else ''}",
        "WORKDIR /app",
        f"{FIRST}\n{install}",
        "COPY . .",
        f"RUN {run} build" if "build" in scripts else "",
    ).rstrip("\n")
    reasons = tuple(name for name in ("package.json", *_LOCKS) if project.has(name))
    if pages:
        text = lines(head, *_served(pages))
        return Proposal("node", f"Pages built with {manager}", reasons, text, IGNORE, SERVER_PORT)
    text = lines(head, *_run(_command(project, package, scripts)))
    return Proposal("node", f"A Node.js program with {manager}", reasons, text, IGNORE, PORT)


def _served(pages: str) -> tuple[str, ...]:
    return (
        f"# The pages alone, and a small server.\nFROM {SERVER}",
        f"COPY --from=build /app/{pages} {PAGES}",
        f"EXPOSE {SERVER_PORT}",
    )


def _run(command: str) -> tuple[str, ...]:
    return (
        "ENV NODE_ENV=production",
        "# Not root: the image brings a user `node`.\nUSER node",
        f"# The program should listen on the port that PORT says.\nENV PORT={PORT}\nEXPOSE {PORT}",
        f"CMD {command}",
    )


def _node(project: Project) -> str:
    asked = project.text(".nvmrc") or project.text(".node-version")
    asked = asked or str(section(project.json("package.json"), "engines", "node") or "")
    return version(asked, DEFAULT, r"\d+")


def _manager(project: Project) -> tuple[str, str, str]:
    """Its name, the instructions that install, and what runs a script."""
    if project.has("pnpm-lock.yaml"):
        text = (
            "COPY package.json pnpm-lock.yaml ./\n"
            "RUN --mount=type=cache,target=/root/.local/share/pnpm/store \\\n"
            "    corepack enable && pnpm install --frozen-lockfile"
        )
        return "pnpm", text, "pnpm run"
    if project.has("yarn.lock"):
        berry = project.has(".yarnrc.yml")
        frozen = "--immutable" if berry else "--frozen-lockfile"
        extra = " .yarnrc.yml" if berry else ""
        text = (
            f"COPY package.json yarn.lock{extra} ./\n"
            "RUN --mount=type=cache,target=/usr/local/share/.cache/yarn \\\n"
            f"    corepack enable && yarn install {frozen}"
        )
        return "Yarn", text, "yarn run"
    lock = next((name for name in _LOCKS[:2] if project.has(name)), None)
    verb = "ci" if lock else "install"
    files = f"package.json {lock}" if lock else "package.json"
    text = f"COPY {files} ./\nRUN --mount=type=cache,target=/root/.npm npm {verb}"
    return "npm", text, "npm run"


def _pages(package: dict[str, object], scripts: dict[str, str]) -> str:
    """Where pages are built to; empty if there is a program to run."""
    start = scripts.get("start", "")
    if re.search(r"\bnode\b|\bnext start\b|nuxt|tsx?-node|nest start", start) or "build" not in scripts:
        return ""
    for kind in ("dependencies", "devDependencies"):
        for name, directory in _PAGES.items():
            if name in section(package, kind):
                return directory
    return ""


def _command(project: Project, package: dict[str, object], scripts: dict[str, str]) -> str:
    if "start" in scripts:
        return words("npm", "start")  # which is there whatever installed the dependencies
    main = package.get("main")
    entry = main if isinstance(main, str) and main else project.first(_ENTRIES) or "index.js"
    return words("node", entry)
